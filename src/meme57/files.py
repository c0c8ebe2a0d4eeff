"""Atomic files with checksums: a file is written completely or not at all."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError

from meme57.errors import CheckpointError, StorageError

Kind = TypeVar("Kind")


def write_atomically(path: Path, write: Callable[[Path], object]) -> Path:
    """Call `write(temporary)` in the folder of `path`, sync, and rename; a failure leaves the old file unchanged.

    Raises:
        StorageError: the disk is full, or the folder cannot be written to.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.touch()  # with the usual mode, which writers such as safetensors would replace by 0600
            mode = temporary.stat().st_mode
            write(temporary)
            temporary.chmod(mode)
            _sync(temporary)
            os.replace(temporary, path)
            _sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
    return path


def write_bytes(path: Path, content: bytes) -> Path:
    """Write `content` atomically."""
    return write_atomically(path, lambda temporary: temporary.write_bytes(content))


def write_json(path: Path, value: Any) -> Path:
    """Write `value` as JSON, atomically, keys in the order given."""
    return write_bytes(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read JSON as `write_json` writes it.

    A file that is missing, damaged, or holds NaN or half a character raises `CheckpointError`. A file that exists but
    cannot be read now raises `StorageError` (see `reading_errors`).
    """
    try:
        with reading_errors(path):
            text = path.read_text(encoding="utf-8")
        tree = json.loads(text, parse_constant=_refuse)
        refuse_half_characters(text, tree)
        return tree
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error


def refuse_half_characters(text: str, tree: Any) -> None:
    """Raise `ValueError` if JSON `text` escapes half a character: `tree`, parsed from it, could not be written."""
    if "\\u" in text:
        json.dumps(tree, ensure_ascii=False).encode()


@contextlib.contextmanager
def reading_errors(path: Path) -> Iterator[None]:
    """Raise `CheckpointError` for a missing file and `StorageError` for one that could not be read now.

    A missing file may be replaced by another one or written again; an unreadable one must not.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing") from error
    except (IsADirectoryError, NotADirectoryError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    except OSError as error:
        raise StorageError(
            f"{path} cannot be read ({error.strerror}): make it readable, or move it away; nothing was changed"
        ) from error


def checked(kind: type[Kind], tree: Any, path: Path) -> Kind:
    """Parse what was read from `path` as a dataclass or a model.

    Raises:
        CheckpointError: a field is missing, has another type, or (in a dataclass) is unknown; one line.
    """
    try:
        return parse_as(kind, tree)
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error


def parse_as(kind: type[Kind], tree: Any) -> Kind:
    """Parse a tree from JSON as a dataclass or a model.

    Raises:
        ValueError: in the cases of `checked`.
    """
    try:
        value = TypeAdapter(kind).validate_python(tree)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"])) or "it"
        raise ValueError(f"{where}: {fault['msg']}") from error
    if dataclasses.is_dataclass(kind) and (unknown := set(tree) - {field.name for field in dataclasses.fields(kind)}):
        raise ValueError(f"{min(unknown)} is unknown")
    return value


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the system's error when `path` cannot be written into a `StorageError` with the free space."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise StorageError(
            f"{path} cannot be written ({reason}; {_free_space(path)}): make room or make it writable; "
            "what was stored before is whole, and the same command resumes from there"
        ) from error


def commit_folder(temporary: Path, path: Path) -> None:
    """Sync every file of `temporary` and rename it to `path`, replacing what is there."""
    for file in temporary.rglob("*"):
        if file.is_file():
            _sync(file)
    _sync(temporary)
    if path.exists():
        shutil.rmtree(path)
    os.replace(temporary, path)
    _sync(path.parent)


def tree_digest(tree: Any) -> str:
    """Compute the SHA-256 of a tree as JSON, independent of the order of its keys; hexadecimal."""
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()


def checksum(path: Path) -> str:
    """Compute the SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number")


def _free_space(path: Path) -> str:
    existing = next(folder for folder in path.absolute().parents if folder.is_dir())
    return f"{shutil.disk_usage(existing).free / 2**20:,.0f} MiB free in {existing}"


def total_size(folder: Path) -> int:
    """Return the bytes of all files below a folder, which may change meanwhile."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.stat(os.path.join(root, name)).st_size
    return total


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not (path.is_dir() and error.errno in (errno.EINVAL, errno.EBADF)):  # some network mounts sync no folders
            raise
    finally:
        os.close(descriptor)
