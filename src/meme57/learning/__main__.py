"""Training without Kedro and MLflow: `python -m meme57.learning --set env.game=Pong --folder runs/pong`.

Metrics go to standard output as JSON lines, progress to standard error. If the lines cannot be written any more (a
closed pipe, a full disk), the run stops at its next checkpoint.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from meme57.checkpoints.store import newest_frames
from meme57.config import Parameters, parse_parameters
from meme57.envs import env_spec
from meme57.errors import ConfigurationError, Interrupted, Meme57Error, RunConflictError
from meme57.files import refuse_half_characters, storage_errors
from meme57.learning.progress import show_progress
from meme57.learning.trainer import learn
from meme57.learning.warm_start import keep_initial_policy
from meme57.lock import hold
from meme57.stopping import install_handlers, request_stop, stop_requested
from meme57.streams import never_fail


def main() -> int:
    """Train, and return the exit status: 0 done, 130 interrupted after a checkpoint, 1 an error or lost rows."""
    arguments = _parser().parse_args()
    lost: list[OSError] = []

    def stop(error: OSError) -> None:
        lost.append(error)
        request_stop()
        print(f"rows cannot be written any more ({error.strerror}): stopping at the next checkpoint", file=sys.stderr)

    never_fail(on_lost=stop)
    try:
        parameters = _parameters(arguments)
        _train(parameters, arguments.folder / parameters.run_name)
    except Interrupted as interruption:
        print(interruption, file=sys.stderr)
        return 130
    except Meme57Error as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 1 if lost else 0


def _train(parameters: Parameters, folder: Path) -> None:
    give_back = install_handlers()
    try:
        env = env_spec(parameters.env)
        if parameters.run.fresh:
            _remove(folder)
        initial_policy = folder / "initial_policy"
        if (source := parameters.run.init_from) is not None and newest_frames(folder) == 0:
            keep_initial_policy(lambda: Path(source), initial_policy, named=source)
        events = learn(parameters, env, folder, initial_policy=initial_policy, stop=stop_requested)
        for event in show_progress(events, total_frames=parameters.run.total_frames, title=parameters.run_name):
            for row in event.rows:
                print(json.dumps(row), flush=True)
    finally:
        give_back()


def _remove(folder: Path) -> None:
    if folder.is_symlink():
        raise RunConflictError(f"{folder} is a link: remove it by hand, then start again; nothing was removed")
    if folder.exists():
        with storage_errors(folder), hold(folder):
            shutil.rmtree(folder)


def _parameters(arguments: argparse.Namespace) -> Parameters:
    tree = _read_config(arguments.config) if arguments.config else {}
    for assignment in arguments.set:
        name, separator, value = assignment.partition("=")
        if not separator:
            raise ConfigurationError(f"--set {assignment!r} has no value: write --set group.name=value")
        _assign(tree, name.split("."), value)
    return parse_parameters(tree)


def _read_config(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text()
        tree = json.loads(text)
        refuse_half_characters(text, tree)
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"--config {path} cannot be read: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigurationError(f'--config {path} is not a JSON object: write {{"group": {{"name": value}}}}')
    return tree


def _assign(tree: dict[str, Any], path: list[str], text: str) -> None:
    name = ".".join(path)
    for part in path[:-1]:
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            raise ConfigurationError(f"--set {name}={text}: {part!r} was already set to a value, not to a group")
    try:
        tree[path[-1]] = json.loads(text)
    except (ValueError, RecursionError):
        tree[path[-1]] = text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m meme57.learning", description="Train MEME without Kedro and MLflow."
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="group.name=value", help="a parameter; repeatable"
    )
    parser.add_argument("--config", type=Path, help="a JSON file of parameters")
    parser.add_argument("--folder", type=Path, default=Path("runs"), help="where run folders go (default: runs)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
