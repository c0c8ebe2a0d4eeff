"""Memory, accelerator memory and disk that are free on this machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import psutil
import torch

from meme57.learning.estimate import Resources

CGROUP = Path("/sys/fs/cgroup")


def free_resources(data: Path, run_folders: Iterable[Path] = ()) -> Resources:
    """Return what a run may use; the contents of its own folders count as free."""
    mine = sum(file.stat().st_size for folder in run_folders for file in folder.rglob("*") if file.is_file())
    existing = next(folder for folder in (data.absolute(), *data.absolute().parents) if folder.is_dir())
    device = torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else None
    return Resources(memory=free_memory(), device=device, disk=shutil.disk_usage(existing).free + mine)


def free_memory(cgroup: Path = CGROUP) -> int | None:
    """Return the bytes that the system calls available, or fewer if a control group (a container) allows fewer.

    This process's own memory counts as free, since an estimate includes it. None: the system does not report it.
    """
    try:
        mine = resident_memory()
        available = int(psutil.virtual_memory().available) + mine
    except (OSError, psutil.Error):
        return None
    try:
        limit, used = ((cgroup / name).read_text().strip() for name in ("memory.max", "memory.current"))
        return available if limit == "max" else min(available, int(limit) - int(used) + _file_cache(cgroup) + mine)
    except (OSError, ValueError):
        return available


def _file_cache(cgroup: Path) -> int:
    """Return the bytes of files that the group's memory holds, which the system gives back when they are needed."""
    try:
        facts = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
        return int(facts["inactive_file"]) + int(facts["active_file"])
    except (OSError, ValueError, KeyError):
        return 0


def resident_memory() -> int:
    """Return the bytes of memory that this process holds.

    Raises:
        psutil.Error: the system does not report it.
    """
    return int(psutil.Process().memory_info().rss)
