"""meme57 doctor: what this machine can do."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib import metadata
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from meme57.api.store import configured_store
from meme57.cli.options import json_option, print_json, project_folder
from meme57.errors import Meme57Error, VideoError

if TYPE_CHECKING:
    from meme57.config import Parameters

PACKAGES = ("torch", "ale-py", "gymnasium", "numpy", "kedro", "mlflow", "optuna")
OPTIONAL_PACKAGES = ("dvc", "kedro-viz", "onnx", "onnxscript", "onnxruntime", "ray")
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
"""MEME in miniature, on a built-in game."""


@click.command()
@click.option(
    "--env", "preset", metavar="PRESET", help="Also: would a run of this preset fit, and how long would it take?"
)
@json_option
def doctor(preset: str | None, as_json: bool) -> None:
    """Check what this machine can do.

    Packages, device, disk, tracking store, ROMs, emulator, and a moment of training: about ten seconds. It writes
    nothing into the project.
    """
    failures, found = 0, []
    of_preset = _preset_checks(preset, _parameters(preset)) if preset else ()
    for name, check in chain(_checks(), of_preset):
        try:
            verdict, words = "ok", check()
        except Exception as error:  # whatever is wrong with this machine is what the command is for
            verdict, words = "FAIL", " ".join(str(error).split()) or type(error).__name__
            failures += 1
        found.append({"check": name, "verdict": verdict, "words": words})
        if not as_json:
            click.echo(f"{verdict:<4}  {name:<14}  {words}")
    if as_json:
        print_json(found)
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
    yield "ROMs", _roms
    yield "emulator", _emulator
    yield "film", _film
    yield "self test", _self_test


def _preset_checks(preset: str, parameters: Parameters) -> Iterator[tuple[str, Callable[[], str]]]:
    yield f"{preset}: size", partial(_size, parameters)
    yield f"{preset}: time", partial(_time, parameters)


def _required(package: str) -> str:
    from packaging.requirements import Requirement

    version = metadata.version(package)
    requirements = [Requirement(text) for text in metadata.requires("meme57") or []]
    for requirement in requirements:
        if requirement.name == package and not requirement.specifier.contains(version, prereleases=True):
            raise Meme57Error(
                f"{version} is installed, meme57 needs {requirement.specifier}: `make setup` in a checkout, "
                f"`pip install '{requirement}'` elsewhere"
            )
    return version


def _optional(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "- (optional, not installed)"


def _device() -> str:
    from meme57.learning.device import describe_device

    return describe_device()


def _free_disk() -> str:
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    if free < LEAST_FREE_GIB:
        raise Meme57Error(f"{free:.1f} GiB: a run needs {LEAST_FREE_GIB:g} GiB")
    return f"{free:,.1f} GiB"


def _store() -> str:
    from meme57.addresses import check_database, sqlite_path
    from meme57.tracking.store import create_store, tracking_uri

    folder = _project_or_here()
    configured = configured_store(folder)
    uri = tracking_uri(folder, configured)
    if uri.startswith(("http://", "https://")):
        return f"{create_store(folder, configured).uri} answers"
    database = sqlite_path(uri)
    if database is not None:
        check_database(database)
    return uri


def _project_or_here() -> Path:
    try:
        return project_folder()
    except Meme57Error:
        return Path.cwd()


def _roms() -> str:
    from meme57.config.games import rom_ids
    from meme57.envs.atari import missing_roms

    known = list(rom_ids().values())
    if missing := missing_roms(known):
        raise Meme57Error(
            f"{len(missing)} of {len(known)} are missing ({missing[0]}, ...): pip install 'ale-py>=0.12.1'"
        )
    return f"{len(known)} of {len(known)}"


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


def _film() -> str:
    """Check that films can be made; a run works without them, so this never fails."""
    from meme57.evaluation.video import find_ffmpeg

    try:
        return find_ffmpeg()
    except VideoError as error:
        return f"- (no films: {error})"


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


def _parameters(preset: str) -> Parameters:
    from kedro.framework.project import settings
    from kedro.framework.startup import bootstrap_project

    from meme57.config import load_parameters

    folder = project_folder()
    bootstrap_project(folder)
    loader = settings.CONFIG_LOADER_CLASS(folder / settings.CONF_SOURCE, env=preset, **settings.CONFIG_LOADER_ARGS)
    return load_parameters(loader)


def _size(parameters: Parameters) -> str:
    from meme57.blueprint import find_device
    from meme57.envs import env_spec
    from meme57.learning.estimate import describe, estimate_resources, shortfall
    from meme57.learning.machine import free_resources

    needed = estimate_resources(parameters, env_spec(parameters.env), on_device=find_device().type != "cpu")
    if problem := shortfall(needed, free_resources(project_folder() / "data"), run_name=parameters.run_name):
        raise Meme57Error(problem)
    return f"fits: {parameters.run_name} {describe(needed)}"


def _time(parameters: Parameters) -> str:
    from meme57.blueprint import find_device
    from meme57.envs import env_spec
    from meme57.learning.device import DAY, least_days_on_cpu, too_long_on_cpu
    from meme57.tracking.duration import in_words, learning_seconds

    spec, on_cpu = env_spec(parameters.env), find_device().type == "cpu"
    if on_cpu and (problem := too_long_on_cpu(parameters, spec)):
        raise Meme57Error(problem)
    frames = f"{parameters.run.total_frames:,} frames"
    if seconds := learning_seconds(project_folder(), parameters):
        return f"{frames}: {in_words(seconds)} of learning, as fast as such runs here"
    least = f"the arithmetic alone takes {in_words(least_days_on_cpu(parameters, spec) * DAY)}; " if on_cpu else ""
    return f"{frames}: {least}no run of these settings has learned here yet"
