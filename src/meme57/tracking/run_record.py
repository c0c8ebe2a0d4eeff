"""The run record ties every pipeline of one run together: its name, its configuration, its parent run in MLflow.

It lies at `data/02_intermediate/<run>/run_record.json`; `setup` writes it, everything after `setup` asks for it.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypedDict

from meme57.config import Parameters
from meme57.config.fields import is_reserved
from meme57.config.identity import changes, former_fingerprint, is_same
from meme57.errors import CheckpointError, RunConflictError
from meme57.files import read_json, storage_errors
from meme57.lock import LOCK, hold, refuse_if_held, share


class _Always(TypedDict):
    """What every record has."""

    run_name: str
    fingerprint: str
    game: str
    seed: int
    mlflow_run_id: str
    created: str
    commit: str


class RunRecord(_Always, total=False):
    """What `setup` writes; the first versions lacked what stands here."""

    configuration: dict[str, Any]
    total_frames: int
    """How long the run was asked to be when `setup` last ran."""


class TrackingRun(TypedDict):
    """What the tracking hook hands to nodes as the dataset `tracking_run`."""

    run_id: str
    parent_run_id: str
    experiment_id: str
    tracking_uri: str
    created: str
    commit: str


_TYPES = dict.fromkeys(RunRecord.__required_keys__, str) | {"seed": int, "configuration": dict, "total_frames": int}


def record_path(project_path: Path, run_name: str) -> Path:
    """Where the record of a run lies."""
    return project_path / "data" / "02_intermediate" / run_name / "run_record.json"


def new_record(parameters: Parameters, tracking_run: TrackingRun) -> RunRecord:
    """The record that `setup` writes; written again for the same run it keeps the parent and the date of creation."""
    return RunRecord(
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


def read_record(project_path: Path, run_name: str) -> RunRecord | None:
    """The record of a run, or None where there is none.

    Raises:
        RunConflictError: the file is damaged, or is another run's.
    """
    path = record_path(project_path, run_name)
    if not path.exists():
        return None
    try:
        record: RunRecord = read_json(path)
    except CheckpointError as error:
        raise RunConflictError(f"{error}: {_anew(run_name)}") from error
    if not isinstance(record, dict):
        raise RunConflictError(f"{path} is damaged: it holds no object: {_anew(run_name)}")
    missing = RunRecord.__required_keys__ - set(record)
    if missing:
        raise RunConflictError(f"{path} lacks {', '.join(sorted(missing))}: {_anew(run_name)}")
    wrong = [name for name, kind in _TYPES.items() if name in record and not isinstance(record[name], kind)]  # type: ignore[literal-required]
    if wrong:
        raise RunConflictError(f"{path} is damaged: {', '.join(wrong)} is of another type: {_anew(run_name)}")
    if record["run_name"] != run_name:
        raise RunConflictError(
            f"{path} is the record of run {record['run_name']!r}, so that its folder was copied or renamed: "
            f"`kedro run --params run.name={record['run_name']}` works on that run, {_anew(run_name)}; "
            "if you renamed it, write the new name into that file"
        )
    return record


def check_identity(record: RunRecord, parameters: Parameters) -> None:
    """Refuses a run name that another configuration has taken.

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
        f"`kedro run --params run.fresh=true` removes it and starts anew (keep your other options)"
    )


def remove_run(project_path: Path, run_name: str) -> list[Path]:
    """Removes the run's folder from every layer of `data/`, and returns what it removed.

    Only a direct child of a layer is ever removed: a name that leads elsewhere, or a link, is refused.

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
        with storage_errors(home):
            held.enter_context(hold(home))
        for lock in _locks(project_path, run_name):
            if lock.parent != home:
                held.enter_context(hold(lock.parent))
        for folder in sorted({*folders, home}, key=lambda folder: folder == home):  # its lock goes last
            with storage_errors(folder):
                shutil.rmtree(folder)
    return folders


@contextlib.contextmanager
def at_work(project_path: Path, run_name: str) -> Iterator[None]:
    """While a pipeline works on a run nobody removes it or begins it anew; other pipelines may work beside it.

    Raises:
        RunConflictError: it is being removed just now.
        StorageError: its folder cannot be written to.
    """
    home = record_path(project_path, run_name).parent
    with contextlib.ExitStack() as held:
        with storage_errors(home):
            held.enter_context(share(home))
        yield


def refuse_live_run(project_path: Path, run_name: str) -> None:
    """Raises `RunConflictError` when any pipeline works on this run."""
    for lock in _locks(project_path, run_name):
        refuse_if_held(lock.parent)


def refuse_second_writer(project_path: Path, run_name: str) -> None:
    """Raises `RunConflictError` when a process collects for this run or trains it."""
    for lock in _locks(project_path, run_name):
        if lock.parent != record_path(project_path, run_name).parent:
            refuse_if_held(lock.parent)


def refuse_lookalike(project_path: Path, name: str) -> None:
    """Raises `RunConflictError` when `data/` has another name that some machines take for this one.

    Their file systems ignore case, or dots at the end. A folder of exactly this name is no other.
    """
    there = {path.name for path in (project_path / "data").glob("*/*") if path.is_dir()}
    alike = sorted(other for other in there if other.lower().rstrip(".") == name.lower().rstrip("."))
    if alike and name not in there:
        raise RunConflictError(
            f"data/ has {alike[0]!r}, which is one folder with {name!r} on some machines: "
            "write that name as it is there, or take another one"
        )


def _locks(project_path: Path, run_name: str) -> list[Path]:
    return [lock for folder in run_folders(project_path, run_name) for lock in folder.rglob(LOCK)]


def run_folders(project_path: Path, run_name: str) -> list[Path]:
    """The run's folder in every layer of `data/` that has one."""
    layers = sorted(path for path in (project_path / "data").glob("*") if path.is_dir())
    return [layer / run_name for layer in layers if (layer / run_name).is_dir()]


def _anew(run_name: str) -> str:
    return f"`kedro run --params run.fresh=true` removes run {run_name!r} and starts anew"
