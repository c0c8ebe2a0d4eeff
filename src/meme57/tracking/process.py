"""Which process writes a run: enough to tell later whether it still lives."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def process_tags() -> dict[str, str]:
    """Host, process id and start time of this process, as tags of its run."""
    pid = os.getpid()
    return {"meme57.host": platform.node(), "meme57.pid": str(pid), "meme57.started": start_time(pid)}


def start_time(pid: int) -> str:
    """Clock ticks from boot to the process's start (Linux); empty where the system does not say, or it is gone."""
    try:
        # Field 22; the command's name, in brackets, may hold spaces.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def is_alive(tags: dict[str, str]) -> bool:
    """Whether the process of these tags may still run; it counts as alive where that cannot be found out."""
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
    # Another person's process may be hidden (`hidepid`): then there is a process, and no start time to compare.
    return pid > 0 and start_time(pid) in ("", tags.get("meme57.started", ""))
