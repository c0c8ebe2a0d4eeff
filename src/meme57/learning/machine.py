"""Memory, accelerator memory and disk that are free on this machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import torch

from meme57.learning.estimate import Resources

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")


def free_resources(data: Path, run_folders: Iterable[Path] = ()) -> Resources:
    """Return what a run may use; the contents of its own folders count as free."""
    mine = sum(file.stat().st_size for folder in run_folders for file in folder.rglob("*") if file.is_file())
    existing = next(folder for folder in (data.absolute(), *data.absolute().parents) if folder.is_dir())
    device = torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else None
    return Resources(memory=free_memory(), device=device, disk=shutil.disk_usage(existing).free + mine)


def free_memory(meminfo: Path = MEMINFO, cgroup: Path = CGROUP) -> int | None:
    """Return the bytes that the system calls available, or fewer if a control group (a container) allows fewer.

    This process's own memory counts as free, since an estimate includes it. None: the system does not report it.
    """
    try:
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        available = int(lines["MemAvailable"].split()[0]) * 1024 + _own_memory()
    except (OSError, KeyError, ValueError, IndexError):
        return None
    try:
        limit, used = ((cgroup / name).read_text().strip() for name in ("memory.max", "memory.current"))
        return available if limit == "max" else min(available, int(limit) - int(used) + _own_memory())
    except (OSError, ValueError):
        return available


def _own_memory() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    except (OSError, IndexError, ValueError):
        return 0
