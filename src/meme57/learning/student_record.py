"""The record of a distilled student: the checkpoint it comes from, and the checksums of all its files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from meme57.checkpoints.source import Source, check_source
from meme57.errors import CheckpointError
from meme57.files import checked, checksum, read_json, reading_errors
from meme57.learning.policies import STUDENT_ENV, STUDENT_SPEC, STUDENT_WEIGHTS

RECORD = "record.json"
ONNX = "student.onnx"
FILES = (STUDENT_WEIGHTS, STUDENT_SPEC, STUDENT_ENV, ONNX)
"""Files of a student's folder in addition to its record; the last one only if it could be exported."""
REMEDY = "`kedro run --pipelines distill` makes it again"


class StudentRecord(BaseModel):
    """The record that `distill` writes with the student; the first versions lacked the fields with defaults."""

    model_config = ConfigDict(strict=True)

    source: dict[str, str] | None = None
    weights_sha256: str = ""
    files: dict[str, str] = {}
    """File name -> SHA-256."""
    onnx: str | None
    bytes: Annotated[int, Field(ge=0, lt=2**63)] | None


def student_checksums(folder: Path) -> dict[str, str]:
    """Compute the SHA-256 of every file of the student."""
    return {name: checksum(folder / name) for name in FILES if (folder / name).is_file()}


def check_student(record: Mapping[str, Any], folder: Path, teacher: Source) -> None:
    """Refuse a student that was distilled from another checkpoint, or whose files differ from its record.

    Raises:
        CheckpointError: one line with the command that helps.
    """
    check_source(record.get("source"), teacher, what="the student is", maker="distill")
    _check_files(record, folder)


def check_folder(folder: Path) -> None:
    """Refuse a folder whose files differ from its record; without a record there is nothing to compare.

    Missing files are not checked, since they are not used: to play through ONNX Runtime, no weights are needed.

    Raises:
        CheckpointError: one line with the command that helps.
    """
    path = folder / RECORD
    if not path.exists():
        return
    try:
        record = checked(StudentRecord, read_json(path), path)
    except CheckpointError as error:
        raise CheckpointError(f"{error}: {REMEDY}") from error
    _check_files(record.model_dump(), folder, names=student_checksums(folder))


def _check_files(record: Mapping[str, Any], folder: Path, names: Iterable[str] = FILES) -> None:
    """Compare the files with the record. An older record has only the checksum of the weights."""
    with reading_errors(folder):
        found = student_checksums(folder)
    expected = record.get("files") or {**found, STUDENT_WEIGHTS: record.get("weights_sha256")}
    for name in names:
        if found.get(name) != expected.get(name):
            raise CheckpointError(f"{folder / name} is not what was distilled: {REMEDY}")
