"""Advisory locks: one process per folder, or many that share it. A lock ends with its holder, however that dies."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from meme57.errors import RunConflictError, without_passwords
from meme57.files import storage_errors

LOCK = ".lock"
LONGEST_COMMAND = 200
PATIENCE_SECONDS = 1.0
"""How long `share` waits for a process that is just examining the lock or removing its file."""

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Keep other processes out of `folder`; `folder/.lock` says who holds it, and is removed at the end.

    The lock is the kernel's (flock), not the file: the file of a killed process is taken over, with a message.

    Raises:
        RunConflictError: a living process holds it; one line that names the process.
        StorageError: the folder cannot be written to.
    """
    path = folder / LOCK
    with storage_errors(folder):
        stream = _acquire(path)
    try:
        with storage_errors(folder):
            if left := stream.read().strip():
                logger.warning("took over %s from %s, which is gone", folder, _describe(left))
            stream.truncate(0)
            _sign(stream)
        yield
    finally:
        if _is_at(path, stream):  # else the folder was removed, and another process may hold a new one
            path.unlink(missing_ok=True)  # while it is held: who opened it meanwhile finds it gone and retries
        stream.close()


@contextlib.contextmanager
def share(folder: Path) -> Iterator[None]:
    """Keep other processes from holding `folder` alone, while they may share it too.

    The last process to leave removes the lock file.

    Raises:
        RunConflictError: a living process holds it; one line that names the process.
        StorageError: the folder cannot be written to.
    """
    path = folder / LOCK
    with storage_errors(folder):
        stream = _acquire_shared(path)
    try:
        with storage_errors(folder):
            _sign(stream)
        yield
    finally:
        with contextlib.suppress(OSError):  # others share it
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(path, stream):
                path.unlink(missing_ok=True)
        stream.close()


def refuse_if_held(folder: Path) -> None:
    """Raise `RunConflictError` if a living process holds or shares `folder`; change nothing."""
    path = folder / LOCK
    if path.is_file():
        with path.open("r+", errors="replace") as stream:
            _try_lock(path, stream)


@dataclass(frozen=True)
class Holder:
    """The process that holds a folder, as its lock file says."""

    pid: int
    host: str
    since: str
    command: str


def holder(folder: Path) -> Holder | None:
    """Return who holds `folder`, or None. This is for display; `hold` and `refuse_if_held` decide.

    A process of this host that has ended holds nothing, whatever it left behind.
    """
    owner = _parse(_text(folder / LOCK))
    if owner is None or _is_gone(owner):
        return None
    try:
        refuse_if_held(folder)
    except RunConflictError:
        return owner
    except OSError:  # it ended just now, or we may not open the file
        return owner if (folder / LOCK).exists() else None
    return None


def _acquire_shared(path: Path) -> IO[str]:
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return _acquire(path, fcntl.LOCK_SH)
        except RunConflictError:
            if time.monotonic() > end:
                raise
        time.sleep(PATIENCE_SECONDS / 50)


def _acquire(path: Path, how: int = fcntl.LOCK_EX) -> IO[str]:
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            stream = path.open("a+", errors="replace")
        except FileNotFoundError:  # the folder was removed after our mkdir
            continue
        try:
            _try_lock(path, stream, how)
        except RunConflictError:
            stream.close()
            raise
        if _is_at(path, stream):
            stream.seek(0)
            return stream
        stream.close()  # its holder removed it between our open and our lock


def _is_at(path: Path, stream: IO[str]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(stream.fileno()))
    except FileNotFoundError:
        return False


def _try_lock(path: Path, stream: IO[str], how: int = fcntl.LOCK_EX) -> None:
    try:
        fcntl.flock(stream, how | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RunConflictError(
            f"{path.parent} is in use by {_describe(_text(path))}: wait until it ends, stop it, "
            "or choose another run.name"
        ) from None
    except OSError as error:
        logger.warning("nothing keeps a second process out of %s: its file system has no locks (%s)", path, error)


def _sign(stream: IO[str]) -> None:
    words = without_passwords(" ".join([Path(sys.orig_argv[0]).name, *sys.orig_argv[1:]]))
    owner = {
        "pid": os.getpid(),
        "host": platform.node(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": words[:LONGEST_COMMAND],
    }
    stream.write(json.dumps(owner) + "\n")
    stream.flush()


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:  # it ended just now
        return ""


def _describe(text: str) -> str:
    """Describe the holders, without the dead ones if others live; the file may hold anything."""
    owners = [owner for line in text.split("\n") if (owner := _parse(line)) is not None]
    owners = [owner for owner in owners if not _is_gone(owner)] or owners
    words = (f"process {owner.pid} on {owner.host} since {owner.since} ({owner.command})" for owner in owners)
    return " ".join(" and ".join(words).split()) or "another process"


def _parse(text: str) -> Holder | None:
    try:
        owner = json.loads(text)
        json.dumps(owner, ensure_ascii=False).encode()  # half a character could not be shown
        return Holder(int(owner["pid"]), str(owner["host"]), str(owner["since"]), str(owner["command"]))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def _is_gone(owner: Holder) -> bool:
    return owner.host == platform.node() and not _lives(owner.pid)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
