"""The run record, which ties the pipelines of one run together: name, configuration, parent run in MLflow.

`setup` writes it to `data/02_intermediate/<run>/run_record.json`, and every later pipeline reads it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypedDict

from meme57.config import Parameters
from meme57.config.fields import is_reserved
from meme57.config.identity import changes, former_fingerprint, is_same
from meme57.errors import CheckpointError, RunConflictError
from meme57.files import read_json, storage_errors
from meme57.lock import LOCK, hold, refuse_if_held, share


class _Always(TypedDict):
    """The entries that every record has."""

    run_name: str
    fingerprint: str
    game: str
    seed: int
    mlflow_run_id: str
    created: str
    commit: str


class RunRecord(_Always, total=False):
    """What `setup` writes; the first versions lacked the entries below."""

    configuration: dict[str, Any]
    total_frames: int
    """Length of the run when `setup` last ran."""
    init_from: dict[str, Any]
    """The policy whose weights the run began with: name, game, checkpoint, checksums. Only with `run.init_from`."""
    preset: str
    """The environment of `conf/` with which `setup` last ran."""


class TrackingRun(TypedDict):
    """What the tracking hook gives to nodes as the dataset `tracking_run`."""

    run_id: str
    parent_run_id: str
    experiment_id: str
    tracking_uri: str
    created: str
    commit: str


_TYPES = dict.fromkeys(RunRecord.__required_keys__, str) | {
    "seed": int,
    "configuration": dict,
    "total_frames": int,
    "init_from": dict,
    "preset": str,
}


def record_path(project_path: Path, run_name: str) -> Path:
    """Return the path of a run's record."""
    return project_path / "data" / "02_intermediate" / run_name / "run_record.json"


def new_record(
    parameters: Parameters,
    tracking_run: TrackingRun,
    init_from: Mapping[str, Any] | None = None,
    *,
    preset: str | None = None,
) -> RunRecord:
    """Make the record that `setup` writes; for an existing run it keeps the parent and the date of creation."""
    record = RunRecord(
        run_name=parameters.run_name,
        fingerprint=parameters.fingerprint(),
        game=parameters.env.game,
        seed=parameters.run.seed,
        mlflow_run_id=tracking_run["parent_run_id"],
        created=tracking_run["created"],
        commit=tracking_run["commit"],
        configuration=parameters.configuration(),
        total_frames=parameters.run.total_frames,
    )
    if init_from:
        record["init_from"] = dict(init_from)
    if preset is not None:
        record["preset"] = preset
    return record


def read_record(project_path: Path, run_name: str) -> RunRecord | None:
    """Read the record of a run; None if there is none.

    Raises:
        RunConflictError: the file is damaged, or belongs to another run.
    """
    path = record_path(project_path, run_name)
    if not path.exists():
        return None
    try:
        record: RunRecord = read_json(path)
    except CheckpointError as error:
        raise RunConflictError(f"{error}: {_anew(run_name)}") from error
    if not isinstance(record, dict):
        raise RunConflictError(f"{path} is damaged: it contains no JSON object: {_anew(run_name)}")
    missing = RunRecord.__required_keys__ - set(record)
    if missing:
        raise RunConflictError(f"{path} lacks {', '.join(sorted(missing))}: {_anew(run_name)}")
    wrong = [name for name, kind in _TYPES.items() if name in record and not isinstance(record[name], kind)]  # type: ignore[literal-required]
    if wrong:
        raise RunConflictError(f"{path} is damaged: {', '.join(wrong)} is of another type: {_anew(run_name)}")
    if record["run_name"] != run_name:
        raise RunConflictError(
            f"{path} is the record of run {record['run_name']!r}, so its folder was copied or renamed: "
            f"`kedro run --params run.name={record['run_name']}` works on that run, {_anew(run_name)}; "
            "if you renamed it, write the new name into that file"
        )
    return record


def check_identity(record: RunRecord, parameters: Parameters) -> None:
    """Refuse a run name that has another configuration.

    Raises:
        RunConflictError: one line with the two commands that help.
    """
    stored, now = record.get("configuration"), parameters.configuration()
    if is_same(stored, record["fingerprint"], now, former_fingerprint(parameters)):
        return
    name = parameters.run_name
    what = f"{record['fingerprint']}, now {parameters.fingerprint()}" if stored is None else changes(stored, now)
    raise RunConflictError(
        f"run {name!r} exists with another configuration ({what}): "
        f"`kedro run --params run.name={name}-b` starts another run beside it, "
        f"`kedro run --params run.fresh=true` removes it and starts again (keep your other options)"
    )


def remove_run(project_path: Path, run_name: str) -> list[Path]:
    """Remove the run's folder from every layer of `data/`, and return what was removed.

    Only a direct child of a layer is ever removed; a name that leads elsewhere, or a link, is refused.

    Raises:
        RunConflictError: the name is not a run's, a link lies in its place, or a process works on the run.
    """
    if not run_name or run_name in (".", "..") or Path(run_name).name != run_name:
        raise RunConflictError(f"run.name={run_name!r} is not a folder name: nothing was removed")
    if is_reserved(run_name):
        raise RunConflictError(
            f"{run_name!r} is a study's or a suite's folder: nothing was removed; remove it by hand if you mean it"
        )
    folders = run_folders(project_path, run_name)
    for folder in folders:
        if folder.is_symlink():
            raise RunConflictError(f"{folder} is a link: remove it by hand, then start again; nothing was removed")
    if not folders:
        return []
    home = record_path(project_path, run_name).parent
    with contextlib.ExitStack() as held:
        held.enter_context(hold(home))
        for lock in _locks(project_path, run_name):
            if lock.parent != home:
                held.enter_context(hold(lock.parent))
        for folder in sorted({*folders, home}, key=lambda folder: folder == home):  # its lock is removed last
            with storage_errors(folder):
                shutil.rmtree(folder)
    return folders


@contextlib.contextmanager
def at_work(project_path: Path, run_name: str) -> Iterator[None]:
    """Keep a run from being removed or restarted while a pipeline works on it; other pipelines may work too.

    Raises:
        RunConflictError: the run is being removed just now.
        StorageError: its folder cannot be written to.
    """
    with share(record_path(project_path, run_name).parent):
        yield


def refuse_live_run(project_path: Path, run_name: str) -> None:
    """Raise `RunConflictError` if any pipeline works on this run."""
    for lock in _locks(project_path, run_name):
        refuse_if_held(lock.parent)


def refuse_second_writer(project_path: Path, run_name: str) -> None:
    """Raise `RunConflictError` if a process collects for this run or trains it."""
    for lock in _locks(project_path, run_name):
        if lock.parent != record_path(project_path, run_name).parent:
            refuse_if_held(lock.parent)


def refuse_lookalike(project_path: Path, name: str) -> None:
    """Raise `RunConflictError` if `data/` has another name that some machines cannot distinguish from this one.

    Their file systems ignore case, or dots at the end. A folder of exactly this name is allowed.
    """
    there = {path.name for path in (project_path / "data").glob("*/*") if path.is_dir()}
    alike = sorted(other for other in there if other.lower().rstrip(".") == name.lower().rstrip("."))
    if alike and name not in there:
        raise RunConflictError(
            f"data/ has {alike[0]!r}, which is one folder with {name!r} on some machines: "
            "write that name as it is there, or take another one"
        )


def _locks(project_path: Path, run_name: str) -> list[Path]:
    found = (os.walk(folder) for folder in run_folders(project_path, run_name))  # it may change meanwhile
    return [Path(root) / LOCK for walk in found for root, _, names in walk if LOCK in names]


def run_folders(project_path: Path, run_name: str) -> list[Path]:
    """List the run's folders, one for each layer of `data/` that has one."""
    layers = sorted(path for path in (project_path / "data").glob("*") if path.is_dir())
    return [layer / run_name for layer in layers if (layer / run_name).is_dir()]


def _anew(run_name: str) -> str:
    return f"`kedro run --params run.fresh=true` removes run {run_name!r} and starts again"
