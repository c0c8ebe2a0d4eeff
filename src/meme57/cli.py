"""The `meme57` command. Training is `kedro run`; this says what the machine can do, and which games there are.

Nothing heavy is imported before a command needs it.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import click

from meme57 import __version__
from meme57.errors import Meme57Error, TrackingError

PACKAGES = ("torch", "ale-py", "gymnasium", "numpy", "kedro", "mlflow", "optuna")
OPTIONAL_PACKAGES = ("dvc", "kedro-viz", "onnxruntime", "ray")
LEAST_FREE_GIB = 2.0
SELF_TEST: dict[str, Any] = {
    "run": {"total_frames": 2_000, "checkpoint_period_frames": 2_000, "log_period_frames": 1_000},
    "env": {"game": "Corridor", "num_envs": 4, "height": 16, "width": 16},
    "family": {"num_policies": 2},
    "network": {"torso": "small", "lstm_size": 16, "head_size": 16, "feature_size": 16},
    "replay": {"period": 10, "capacity_sequences": 100, "min_sequences": 16},
    "actors": {"weights_period_steps": 10},
    "learner": {"batch_size": 4},
}
"""MEME in miniature, on the game of our own."""


class OneLineErrors(click.Group):
    """Shows an error of ours as one line, with exit status 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command."""
        try:
            return super().invoke(ctx)
        except Meme57Error as error:
            raise click.ClickException(_one_line(error)) from error


@click.group(cls=OneLineErrors, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="meme57")
def main() -> None:
    """MEME on Atari games. Train with `kedro run`; the commands here look around."""


cli = click.Group("meme57")
"""Kedro asks the module `cli` of a project for a group of this name, to add to its own commands: nothing."""


@main.command()
@click.argument("names", nargs=-1, metavar="[GAME]...")
def games(names: tuple[str, ...]) -> None:
    """List the games, with the scores of random play and of a human where they were published."""
    from meme57.config import canonical_game
    from meme57.config.games import TOY_GAMES, rom_ids
    from meme57.evaluation.reference import has_reference, reference_score

    chosen = [canonical_game(name) for name in names] or [*rom_ids(), *TOY_GAMES]
    width = max(len(game) for game in chosen)
    click.echo(f"{'env.game':<{width}}  {'random':>10}  {'human':>10}")
    for game in chosen:
        reference = reference_score(game) if has_reference(game) else None
        random, human = (f"{reference.random:,.1f}", f"{reference.human:,.1f}") if reference else ("-", "-")
        click.echo(f"{game:<{width}}  {random:>10}  {human:>10}")


@main.command()
def doctor() -> None:
    """Check packages, machine, tracking store and emulator, and train for a moment; about ten seconds."""
    failures = 0
    for name, check in _checks():
        try:
            verdict, words = "ok", check()
        except Exception as error:  # whatever is wrong with this machine is what the command is for
            verdict, words = "FAIL", _one_line(error) or type(error).__name__
            failures += 1
        click.echo(f"{verdict:<4}  {name:<14}  {words}")
    if failures:
        raise click.ClickException(f"{failures} of the checks failed")


def _checks() -> Iterator[tuple[str, Callable[[], str]]]:
    yield "python", lambda: f"{platform.python_version()} ({sys.executable})"
    for package in PACKAGES:
        yield package, partial(_required, package)
    for package in OPTIONAL_PACKAGES:
        yield package, partial(_optional, package)
    yield "device", _device
    yield "cores", lambda: str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    yield "free disk", _free_disk
    yield "tracking store", _store
    yield "emulator", _emulator
    yield "self test", _self_test


def _required(package: str) -> str:
    from packaging.requirements import Requirement

    version = metadata.version(package)
    requirements = [Requirement(text) for text in metadata.requires("meme57") or []]
    for requirement in requirements:
        if requirement.name == package and not requirement.specifier.contains(version, prereleases=True):
            raise Meme57Error(f"{version} is installed, meme57 needs {requirement.specifier}: `make setup`")
    return version


def _optional(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "- (optional, not installed)"


def _device() -> str:
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    memory = torch.cuda.get_device_properties(0).total_memory / 2**30
    return f"{torch.cuda.get_device_name()}, {memory:.0f} GiB"


def _free_disk() -> str:
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    if free < LEAST_FREE_GIB:
        raise Meme57Error(f"{free:.1f} GiB: a run needs {LEAST_FREE_GIB:g} GiB")
    return f"{free:,.1f} GiB"


def _store() -> str:
    from kedro.utils import find_kedro_project

    from meme57.tracking.store import SQLITE, tracking_uri

    project = find_kedro_project(Path.cwd())
    uri = tracking_uri(project or Path.cwd(), _configured_store(project))
    if not uri.startswith(SQLITE):
        return uri
    folder = Path(uri.removeprefix(SQLITE)).parent
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise TrackingError(f"{uri}: {existing} is no folder that can be written to")
    return uri


def _configured_store(project: Path | None) -> str | None:
    import yaml

    path = (project or Path.cwd()) / "conf" / "base" / "mlflow.yml"
    settings = yaml.safe_load(path.read_text()) if path.is_file() else {}
    return ((settings or {}).get("server") or {}).get("mlflow_tracking_uri")


def _emulator() -> str:
    import numpy as np

    from meme57.config import parse_parameters
    from meme57.envs import env_spec, make_env

    spec = env_spec(parse_parameters({"env": {"game": "Pong"}}).env)
    env = make_env(spec, num_envs=2)
    try:
        env.reset(seed=0)
        for _ in range(10):
            env.step(np.zeros(2, np.int64))
    finally:
        env.close()
    return f"{spec.game}: ROM loads, {spec.num_actions} actions, {spec.height}x{spec.width}"


def _self_test() -> str:
    import tempfile

    from meme57.config import parse_parameters
    from meme57.envs import env_spec
    from meme57.learning.trainer import learn

    parameters = parse_parameters(SELF_TEST)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        *_, last = learn(parameters, env_spec(parameters.env), Path(folder))
    if last.checkpoint is None or last.updates == 0:
        raise Meme57Error(f"{last.frames} frames gave {last.updates} updates and no checkpoint")
    return f"{last.frames:,} frames, {last.updates} updates, a checkpoint in {time.perf_counter() - start:.1f} s"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
