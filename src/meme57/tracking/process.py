"""Record which process writes a run, so that others can find out whether it is still alive."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import psutil

PROCESS = "meme57.process"
"""Host, process id and start time, with a space between two."""
EARLIER = ("meme57.host", "meme57.pid", "meme57.started")
"""The tags of older releases for the same."""


def process_tags() -> dict[str, str]:
    """Return the tag of a run that names this process."""
    return {PROCESS: f"{platform.node()} {os.getpid()} {start_time(os.getpid())}"}


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
    host, text, started = tags[PROCESS].rsplit(" ", 2) if PROCESS in tags else (tags.get(tag, "") for tag in EARLIER)
    if host != platform.node():
        return True
    pid = int(text) if text.isdecimal() else 0
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    # Another user's process may be hidden (`hidepid`): it exists, but there is no start time to compare.
    return pid > 0 and start_time(pid) in ("", started)
