"""Checkpoints: atomic folders with a manifest and checksums; a damaged newest one is set aside."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from meme57.errors import CheckpointError, IncompatibleCheckpointError
from meme57.files import checksum, commit_folder, read_json, write_json

FORMAT = 1
MANIFEST = "manifest.json"
PREFIX = "checkpoint-"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CheckpointRecord:
    """Where a checkpoint lies and how good it is."""

    name: str
    folder: Path
    frames: int
    updates: int
    score: float | None
    is_best: bool


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read and found whole."""

    folder: Path
    manifest: dict[str, Any]
    state: dict[str, Any]

    def tensors(self, name: str) -> dict[str, Tensor]:
        """The tensors of one file, `name` without its ending."""
        try:
            return load_file(self.folder / f"{name}.safetensors")
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{self.folder / name}.safetensors is damaged: {error}") from error


class CheckpointStore:
    """The checkpoints of one run: the newest K for resuming, and the best one for its weights."""

    def __init__(self, folder: Path, *, fingerprint: str, keep: int) -> None:
        self.folder = folder
        self._fingerprint = fingerprint
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
    ) -> CheckpointRecord:
        """Writes one checkpoint; it is there whole or not at all.

        Args:
            tensors: file name -> tensors.
            state: counters, random states, replay index: JSON-able.
            description: what is needed to use the weights alone: specs of game and network.
        """
        number = max([0, *(_number(path) for path in self._folders())]) + 1
        best = self.best()
        is_best = best is None or _rank(score) >= _rank(best.manifest["score"])
        path = self.folder / f"{PREFIX}{number:06d}"
        temporary = self.folder / f".{path.name}.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        for name, content in tensors.items():
            save_file({key: value.contiguous() for key, value in content.items()}, temporary / f"{name}.safetensors")
        write_json(temporary / "state.json", state)
        write_json(temporary / "agent.json", description)
        write_json(
            temporary / MANIFEST,
            {
                "format": FORMAT,
                "fingerprint": self._fingerprint,
                "frames": frames,
                "updates": updates,
                "score": score,
                "is_best": is_best,
                "files": {file.name: checksum(file) for file in sorted(temporary.iterdir())},
            },
        )
        commit_folder(temporary, path)
        self._prune()
        return CheckpointRecord(path.name, path, frames, updates, score, is_best)

    def newest(self) -> Checkpoint | None:
        """The newest whole checkpoint; damaged ones are renamed to `damaged-...`, with a warning.

        Raises:
            IncompatibleCheckpointError: it was made by another configuration, or by a newer version of meme57.
        """
        for path in reversed(self._folders()):
            try:
                return self._open(path)
            except IncompatibleCheckpointError:
                raise
            except CheckpointError as error:
                self.set_aside(path, error)
        return None

    def set_aside(self, path: Path, error: CheckpointError) -> None:
        """Renames a damaged checkpoint, with a warning, so that the one before is the newest."""
        aside = path.with_name(f"damaged-{path.name}")
        shutil.rmtree(aside, ignore_errors=True)
        path.rename(aside)
        logger.warning("%s: set aside as %s, going on from the one before", error, aside.name)

    def best(self) -> Checkpoint | None:
        """The checkpoint with the highest score, the newer one of equals; without any score, the newest."""
        whole = []
        for path in self._folders():
            try:
                whole.append(self._open(path))
            except CheckpointError as error:
                logger.warning("%s: not considered", error)
        return max(whole, key=lambda c: (_rank(c.manifest["score"]), c.manifest["frames"]), default=None)

    def replay_indices(self) -> list[dict[str, Any]]:
        """Replay snapshots that the checkpoints kept for resuming still need."""
        indices = []
        for path in self._folders()[-self._keep :]:
            try:
                indices.append(read_json(path / "state.json")["replay"])
            except CheckpointError as error:
                logger.warning("%s: its replay is not kept", error)
        return indices

    def _open(self, path: Path) -> Checkpoint:
        manifest = check_folder(path)
        if manifest["fingerprint"] != self._fingerprint:
            raise IncompatibleCheckpointError(
                f"{path} was made by configuration {manifest['fingerprint']}, this is {self._fingerprint}: "
                "choose another run.name, or start anew with run.fresh=true"
            )
        return Checkpoint(path, manifest, read_json(path / "state.json"))

    def _prune(self) -> None:
        best = self.best()
        for path in self._folders()[: -self._keep]:
            if best is None or path != best.folder:
                shutil.rmtree(path)

    def _folders(self) -> list[Path]:
        found = self.folder.glob(f"{PREFIX}*") if self.folder.is_dir() else iter(())
        return sorted(path for path in found if path.is_dir() and path.name[len(PREFIX) :].isdigit())


def newest_replay_index(folder: Path) -> dict[str, Any]:
    """The replay snapshot that belongs to a checkpoint folder, after its checksums were found right."""
    check_folder(folder)
    index: dict[str, Any] = read_json(folder / "state.json")["replay"]
    return index


def check_folder(path: Path) -> dict[str, Any]:
    """The manifest of a checkpoint folder, after every file's checksum was found right.

    Raises:
        CheckpointError: a file is missing or changed; `IncompatibleCheckpointError`: a newer format.
    """
    manifest = read_json(path / MANIFEST)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise CheckpointError(f"{path / MANIFEST} is damaged: it lists no files")
    if manifest.get("format") != FORMAT:
        raise IncompatibleCheckpointError(
            f"{path} has format {manifest.get('format')}, this version reads {FORMAT}: update meme57"
        )
    for name, digest in manifest["files"].items():
        file = path / Path(name).name
        if not file.is_file() or checksum(file) != digest:
            raise CheckpointError(f"{file} is damaged or missing")
    return manifest


def _number(path: Path) -> int:
    return int(path.name[len(PREFIX) :])


def _rank(score: float | None) -> float:
    return float("-inf") if score is None else score
