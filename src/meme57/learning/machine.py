"""Memory, accelerator memory and disk that are free on this machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil
import torch

from meme57.files import total_size
from meme57.learning.estimate import Resources

CGROUP, MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
MEMORY_FILES = (
    ("memory.max", "memory.current", ("inactive_file", "active_file")),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")),
)
"""Of a control group, by version: its limit, what it uses, and which parts of that are cached files."""


def free_resources(data: Path, run_folders: Iterable[Path] = ()) -> Resources:
    """Return what a run may use; the contents of its own folders count as free."""
    mine = sum(map(total_size, run_folders))
    existing = next(folder for folder in (data.absolute(), *data.absolute().parents) if folder.is_dir())
    device = torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else None
    return Resources(memory=free_memory(), device=device, disk=shutil.disk_usage(existing).free + mine)


def free_memory(cgroup: Path = CGROUP, membership: Path = MEMBERSHIP) -> int | None:
    """Return the bytes that the system calls available, or fewer if a control group allows fewer.

    A container, a Slurm job and a systemd service are control groups; those above them may have limits too. This
    process's own memory counts as free, since an estimate includes it. None: the system does not report it.

    Args:
        cgroup: where the groups are mounted.
        membership: the file that names this process's groups.
    """
    try:
        mine = resident_memory()
        available = int(psutil.virtual_memory().available) + mine
    except (OSError, psutil.Error):
        return None
    left = (_left_of_group(folder) for folder in _groups(cgroup, membership))
    return min([available, *(bytes_left + mine for bytes_left in left if bytes_left is not None)])


def _groups(cgroup: Path, membership: Path) -> Iterator[Path]:
    """Yield the folders of this process's memory groups and of those above them, of both versions."""
    yield cgroup
    try:
        lines = [line.split(":", 2) for line in membership.read_text().splitlines()]
    except OSError:
        return
    for _, kinds, name in lines:
        base = cgroup if not kinds else cgroup / "memory" if "memory" in kinds.split(",") else None
        if base is not None:
            own = base / name.lstrip("/")
            yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(base))


def _left_of_group(folder: Path) -> int | None:
    """Return the bytes that a group may still use, its cached files included; None if it has no limit."""
    for limit_name, used_name, cached in MEMORY_FILES:
        try:
            limit, used = ((folder / name).read_text().strip() for name in (limit_name, used_name))
            return None if limit == "max" else int(limit) - int(used) + _file_cache(folder, cached)
        except (OSError, ValueError):
            continue
    return None


def _file_cache(folder: Path, cached: Iterable[str]) -> int:
    """Return the bytes of files that the group's memory holds, which the system gives back when they are needed."""
    try:
        facts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return sum(int(facts[name]) for name in cached)
    except (OSError, ValueError, KeyError):
        return 0


def resident_memory() -> int:
    """Return the bytes of memory that this process holds.

    Raises:
        psutil.Error: the system does not report it.
    """
    return int(psutil.Process().memory_info().rss)
