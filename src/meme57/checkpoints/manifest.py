"""The manifest of a checkpoint: the folder's files with checksums, its own included; nothing in it is trusted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from meme57.errors import CheckpointError, IncompatibleCheckpointError
from meme57.files import checked, checksum, read_json, reading_errors, tree_digest, write_json

if TYPE_CHECKING:
    from meme57.checkpoints.store import CheckpointRecord

FORMAT = 2
MANIFEST = "manifest.json"
STATE = "state.json"
AGENT = "agent.json"

_FILE_NAME = re.compile(r"[a-z_]+\.(json|safetensors)")


class Manifest(BaseModel):
    """The content of `manifest.json`, types checked."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: int = FORMAT
    fingerprint: str
    configuration: dict[str, Any]
    """`Parameters.configuration()`, so that differences can be named."""
    frames: Annotated[int, Field(ge=0)]
    updates: Annotated[int, Field(ge=0)]
    score: Annotated[float, Field(allow_inf_nan=False)] | None
    measure: str | None = None
    """What the score measures; the first versions did not say."""
    is_best: bool
    """Whether it was the best one when it was written."""
    files: dict[str, str]
    """File name -> SHA-256."""


def best_of(checkpoints: Sequence[CheckpointRecord]) -> CheckpointRecord | None:
    """Return the checkpoint with the highest score, the newer one of equals; without any score, the newest.

    Scores of two measures are not comparable, so scores with another measure than the newest one are left out. A score
    without a measure competes with all.

    Args:
        checkpoints: in the order in which they were written.
    """
    measures = [checkpoint.measure for checkpoint in checkpoints if checkpoint.score is not None]
    newest = measures[-1] if measures else None
    alike = [
        checkpoint
        for checkpoint in checkpoints
        if checkpoint.score is None or newest is None or checkpoint.measure in (None, newest)
    ]
    return max(reversed(alike), key=lambda checkpoint: (_rank(checkpoint.score), checkpoint.frames), default=None)


def _rank(score: float | None) -> float:
    return float("-inf") if score is None else score


def write_manifest(folder: Path, **facts: Any) -> Manifest:
    """Write the manifest of the files in `folder`, after all of them were written."""
    files = {file.name: checksum(file) for file in sorted(folder.iterdir())}
    manifest = Manifest(files=files, **facts)
    _write(manifest, folder)
    return manifest


def add_score(folder: Path, score: float, *, is_best: bool) -> Manifest:
    """Write the score of a checkpoint that was stored without one; its other files stay as they are."""
    manifest = read_manifest(folder).model_copy(update={"score": score, "is_best": is_best})
    _write(manifest, folder)
    return manifest


def _write(manifest: Manifest, folder: Path) -> None:
    tree = manifest.model_dump(mode="json")
    write_json(folder / MANIFEST, {**tree, "sha256": tree_digest(tree)})


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a checkpoint folder, without checking the other files.

    Raises:
        CheckpointError: it is missing, damaged, or names a file that no checkpoint has.
        IncompatibleCheckpointError: it is valid, but has another format.
    """
    path = folder / MANIFEST
    tree = read_json(path)
    if not isinstance(tree, dict):
        raise CheckpointError(f"{path} is damaged: it is not a JSON object")
    digest = tree.pop("sha256", None)
    if digest is not None and digest != tree_digest(tree):
        raise CheckpointError(f"{path} is damaged: its checksum does not match")
    if tree.get("format") != FORMAT:
        raise IncompatibleCheckpointError(
            f"{folder} has format {tree.get('format')!r}, this version of meme57 reads {FORMAT}: use the version that "
            "wrote it (a newer format: update meme57), or start over with run.fresh=true"
        )
    manifest = checked(Manifest, tree, path)
    if digest is None or not {STATE, AGENT} <= set(manifest.files):
        raise CheckpointError(f"{path} is damaged: a checksum is missing")
    for name in manifest.files:
        if not _FILE_NAME.fullmatch(name) or name == MANIFEST:
            raise CheckpointError(f"{path} names {name!r}, which is not a file of a checkpoint; nothing was read")
    return manifest


def manifest_checksum(manifest: Manifest) -> str:
    """Compute the SHA-256 of a manifest as it was written, which also covers every file that it names."""
    return tree_digest(manifest.model_dump(mode="json", exclude_unset=True))


def check_folder(folder: Path) -> Manifest:
    """Check every file's checksum in a checkpoint folder, and return its manifest.

    Raises:
        CheckpointError: a file is missing or changed; also the errors of `read_manifest`.
    """
    manifest = read_manifest(folder)
    for name in manifest.files:
        check_file(folder, manifest, name)
    return manifest


def check_file(folder: Path, manifest: Manifest, name: str) -> None:
    """Raise `CheckpointError` unless the file is the one that was written, `StorageError` if it cannot be read."""
    file = folder / name
    with reading_errors(file):
        whole = not file.is_symlink() and file.is_file() and checksum(file) == manifest.files[name]
    if not whole:
        raise CheckpointError(f"{file} is damaged or missing")
