"""Checkpoints: atomic folders with a manifest and checksums. If the newest one is damaged, it is set aside."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from meme57.checkpoints.manifest import (
    AGENT,
    STATE,
    Manifest,
    add_score,
    best_of,
    check_file,
    check_folder,
    read_manifest,
    write_manifest,
)
from meme57.checkpoints.state import parse_state
from meme57.checkpoints.tensors import save_tensors
from meme57.config.identity import changes
from meme57.errors import CheckpointError, IncompatibleCheckpointError
from meme57.files import commit_folder, read_json, reading_errors, storage_errors, write_json

PREFIX = "checkpoint-"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CheckpointRecord:
    """A checkpoint's folder and score."""

    name: str
    folder: Path
    frames: int
    updates: int
    score: float | None
    is_best: bool
    measure: str | None = None
    """What the score measures."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read and found valid."""

    folder: Path
    manifest: Manifest
    state: dict[str, Any]

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Load the tensors of one file; `name` has no file ending."""
        try:
            return load_file(self.folder / f"{name}.safetensors")
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{self.folder / name}.safetensors is damaged: {error}") from error


class CheckpointStore:
    """The checkpoints of one run: the newest K for resuming, and the best one for its weights."""

    def __init__(self, folder: Path, *, fingerprint: str, configuration: dict[str, Any], keep: int) -> None:
        self.folder = folder
        self._fingerprint, self._configuration = fingerprint, configuration
        self._keep = keep

    def save(
        self,
        *,
        tensors: dict[str, dict[str, Tensor]],
        state: dict[str, Any],
        description: dict[str, Any],
        frames: int,
        updates: int,
        score: float | None,
        measure: str | None = None,
    ) -> CheckpointRecord:
        """Write one checkpoint atomically: all of it or nothing.

        Args:
            tensors: file name -> tensors.
            state: counters, random states, replay index, as JSON types.
            description: what is needed to use the weights on their own: specs of game and network.
            measure: what the score measures; scores of another measure do not compete (`best_of`).

        Raises:
            StorageError: the disk is full, or the folder cannot be written to; earlier checkpoints are unchanged.
        """
        number = max([0, *(_number(path) for path in _folders(self.folder))]) + 1
        path = self.folder / f"{PREFIX}{number:06d}"
        new = CheckpointRecord(path.name, path, frames, updates, score, is_best=True, measure=measure)
        is_best = best_of([*_there(self.folder), new]) is new
        temporary = self.folder / f".{path.name}.tmp"
        try:
            with storage_errors(path):
                shutil.rmtree(temporary, ignore_errors=True)
                temporary.mkdir(parents=True)
                for name, content in tensors.items():
                    save_tensors(content, temporary / f"{name}.safetensors")
                write_json(temporary / STATE, state)
                write_json(temporary / AGENT, description)
                manifest = write_manifest(
                    temporary,
                    fingerprint=self._fingerprint,
                    configuration=self._configuration,
                    frames=frames,
                    updates=updates,
                    score=score,
                    measure=measure,
                    is_best=is_best,
                )
                commit_folder(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        self._report_new_measure()
        self._prune()
        return _record(path, manifest)

    def add_score(self, record: CheckpointRecord, score: float) -> CheckpointRecord:
        """Add the score to a checkpoint that a stop left without one."""
        scored = replace(record, score=score)
        others = [other for other in _there(self.folder) if other.folder != record.folder]
        is_best = best_of(sorted([*others, scored], key=lambda one: one.name)) is scored
        return _record(record.folder, add_score(record.folder, score, is_best=is_best))

    def restore(self, use: Callable[[Checkpoint], object]) -> CheckpointRecord | None:
        """Pass the newest valid checkpoint to `use`; if that raises `CheckpointError`, pass the one before.

        Skipped checkpoints are renamed to `damaged-...`, with a warning. Returns None if there is no checkpoint.

        Raises:
            IncompatibleCheckpointError: it was made by another configuration, or has another format.
            CheckpointError: there are checkpoints and none can be used; they are left as they are.
        """
        failed: list[tuple[Path, CheckpointError]] = []
        for path in reversed(_folders(self.folder)):
            try:
                checkpoint = self._open(path)
                use(checkpoint)
            except IncompatibleCheckpointError:
                raise
            except CheckpointError as error:
                failed.append((path, error))
                continue
            for damaged, reason in failed:
                _set_aside(damaged, reason)
            best = self.best()
            return _record(path, checkpoint.manifest, is_best=best is not None and best.folder == path)
        if failed:
            raise CheckpointError(
                f"none of the {len(failed)} checkpoints in {self.folder} can be used; the newest: {failed[0][1]}: "
                "put a copy back, or start over with run.fresh=true"
            )
        return None

    def newest(self) -> Checkpoint | None:
        """Return the newest valid checkpoint; see `restore`."""
        found: list[Checkpoint] = []
        self.restore(found.append)
        return found[0] if found else None

    def best(self) -> CheckpointRecord | None:
        """Return `best_checkpoint` of the folder."""
        return best_checkpoint(self.folder)

    def replay_indices(self) -> list[dict[str, Any]]:
        """Return the replay snapshots that the checkpoints kept for resuming still need."""
        indices = []
        for path in _folders(self.folder)[-self._keep :]:
            try:
                indices.append(newest_replay_index(path))
            except CheckpointError as error:
                logger.warning("%s: its replay is not kept", error)
        return indices

    def _open(self, path: Path) -> Checkpoint:
        manifest = check_folder(path)
        if what := changes(manifest.configuration, self._configuration):
            raise IncompatibleCheckpointError(
                f"{path} was made by configuration {manifest.fingerprint}, this is {self._fingerprint} ({what}): "
                "choose another run.name, or start over with run.fresh=true"
            )
        return Checkpoint(path, manifest, read_json(path / STATE))

    def _report_new_measure(self) -> None:
        """Log one line when the first score of another measure is written."""
        measures = [record.measure for record in _there(self.folder) if record.score is not None and record.measure]
        if len(measures) > 1 and measures[-2] != measures[-1]:
            logger.info("scores measure %s from now on: checkpoints with %s do not compete", measures[-1], measures[-2])

    def _prune(self) -> None:
        best = self.best()
        for path in _folders(self.folder)[: -self._keep]:
            if best is None or path != best.folder:
                try:
                    shutil.rmtree(path)
                except OSError as error:
                    logger.warning("%s is not needed any more and could not be removed: %s", path, error)


def best_checkpoint(folder: Path) -> CheckpointRecord | None:
    """Return the best checkpoint in the folder, as defined by `best_of`; None if there is none.

    Only manifests are read: checking every file at every save would cost more than the save.
    """
    return best_of(_there(folder))


def newest_frames(folder: Path) -> int:
    """Return the frames of the newest checkpoint in the folder; 0 without any."""
    return max((record.frames for record in _there(folder)), default=0)


def _there(folder: Path) -> list[CheckpointRecord]:
    """Return the checkpoints whose files are all there, in the order of their numbers."""
    there = []
    for path in _folders(folder):
        try:
            manifest = read_manifest(path)
            if all((path / name).is_file() for name in manifest.files):
                there.append(_record(path, manifest, is_best=True))
        except CheckpointError as error:
            logger.warning("%s: not considered", error)
    return there


def _folders(folder: Path) -> list[Path]:
    with reading_errors(folder):
        found = [*folder.iterdir()] if folder.is_dir() else []
    named = [path for path in found if path.name.startswith(PREFIX) and path.name[len(PREFIX) :].isdigit()]
    return sorted((path for path in named if path.is_dir()), key=_number)


def newest_replay_index(folder: Path) -> dict[str, Any]:
    """Return the replay snapshot of a checkpoint folder, without checking its weights.

    Raises:
        CheckpointError: the manifest or the state is missing or damaged.
    """
    check_file(folder, read_manifest(folder), STATE)
    return parse_state(read_json(folder / STATE), folder / STATE).replay


def _set_aside(path: Path, error: CheckpointError) -> None:
    """Rename a damaged checkpoint, with a warning, so that the one before is the newest."""
    aside = path.with_name(f"damaged-{path.name}")
    with storage_errors(aside):
        shutil.rmtree(aside, ignore_errors=True)
        path.rename(aside)
    logger.warning("%s: set aside as %s, resuming from the one before", error, aside.name)


def _record(path: Path, manifest: Manifest, *, is_best: bool | None = None) -> CheckpointRecord:
    best = manifest.is_best if is_best is None else is_best
    return CheckpointRecord(path.name, path, manifest.frames, manifest.updates, manifest.score, best, manifest.measure)


def _number(path: Path) -> int:
    return int(path.name[len(PREFIX) :])
