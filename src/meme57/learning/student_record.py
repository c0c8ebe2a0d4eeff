"""The record of a distilled student: which checkpoint it is of, and the checksum of every file that makes it up."""

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
"""What a student's folder holds beside its record; the last one only where it could be exported."""
REMEDY = "`kedro run --pipelines distill` makes it anew"


class StudentRecord(BaseModel):
    """What `distill` writes beside the student; the first versions lacked what has a default here."""

    model_config = ConfigDict(strict=True)

    source: dict[str, str] | None = None
    weights_sha256: str = ""
    files: dict[str, str] = {}
    """File name -> SHA-256."""
    onnx: str | None
    bytes: Annotated[int, Field(ge=0, lt=2**63)] | None


def student_checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file that makes up the student."""
    return {name: checksum(folder / name) for name in FILES if (folder / name).is_file()}


def check_student(record: Mapping[str, Any], folder: Path, teacher: Source) -> None:
    """Refuses a student that was distilled from another checkpoint, or whose files are not those of its record.

    Raises:
        CheckpointError: one line with the command that helps.
    """
    check_source(record.get("source"), teacher, what="the student is", maker="distill")
    _check_files(record, folder)


def check_folder(folder: Path) -> None:
    """Refuses a folder with another file than the record in it names; without a record there is nothing to compare.

    A file that is not there is not used: who plays through ONNX Runtime needs no weights.

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
    """An older record names the checksum of the weights alone."""
    with reading_errors(folder):
        found = student_checksums(folder)
    expected = record.get("files") or {**found, STUDENT_WEIGHTS: record.get("weights_sha256")}
    for name in names:
        if found.get(name) != expected.get(name):
            raise CheckpointError(f"{folder / name} is not what was distilled: {REMEDY}")
