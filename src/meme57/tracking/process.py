"""Record which process writes a run, so that others can find out whether it is still alive."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import psutil


def process_tags() -> dict[str, str]:
    """Return host, process id and start time of this process, as tags of its run."""
    pid = os.getpid()
    return {"meme57.host": platform.node(), "meme57.pid": str(pid), "meme57.started": start_time(pid)}


def start_time(pid: int) -> str:
    """Return when the process started, as its system counts; empty if unknown, or if it has ended.

    On Linux it is clock ticks from boot, which no change of the clock touches. Elsewhere it is seconds since 1970.
    """
    return _start_ticks(pid) if platform.system() == "Linux" else _start_seconds(pid)


def _start_ticks(pid: int) -> str:
    try:
        # Field 22; the command's name, in brackets, may contain spaces.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _start_seconds(pid: int) -> str:
    try:
        return f"{psutil.Process(pid).create_time():.2f}"
    except psutil.Error:
        return ""


def is_alive(tags: dict[str, str]) -> bool:
    """Say whether the process of these tags may still run; it counts as alive if that is unknown."""
    if tags.get("meme57.host") != platform.node():
        return True
    text = tags.get("meme57.pid", "")
    pid = int(text) if text.isdecimal() else 0
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    # Another user's process may be hidden (`hidepid`): it exists, but there is no start time to compare.
    return pid > 0 and start_time(pid) in ("", tags.get("meme57.started", ""))
