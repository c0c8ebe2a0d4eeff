"""The learner before and after: CPU time of an update at an earlier commit and now, in turn, and its operations.

    git clone . before && git -C before checkout fd8d2c1
    python benchmarks/bench_update.py --before before [--repetitions 7] [--json PATH]

The earlier code runs with the packages of today. Each process makes 20 updates of one batch size, of the setting
`laptop` in `bench_learner.py`, on one thread; the processes of both commits take turns. Then each is profiled in turn;
the profile with the median total counts.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from presets import ROOT
from timing import command, show, spread

BATCH_SIZES = (16, 8, 4)
PROFILED, PROFILES = 16, 5
UPDATES = 20
SHOWN_MS = 0.5
"""An operation that takes less than this an update, before and now, is in the table's last row."""


def updates_of(folder: Path, batch_size: int, *more: str) -> dict[str, Any]:
    """Return the seconds of each update in a new process, and with the word `profile` the operations of one."""
    script = Path(__file__).with_name("updates_of.py")
    words = [sys.executable, str(script), str(folder.resolve()), str(batch_size), str(UPDATES), *more]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{folder}: {done.stderr.strip()}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(before: str, repetitions: int) -> dict[str, Any]:
    """Measure both commits at each batch size, in turn."""
    folders = {"before": Path(before), "now": ROOT}
    if not (folders["before"] / "benchmarks" / "bench_learner.py").exists():
        raise SystemExit(f"{before} is no clone of this project: git clone . {before}, then check a commit out there")
    rows = []
    for batch_size in BATCH_SIZES:
        medians: dict[str, list[float]] = {name: [] for name in folders}
        for _ in range(repetitions):
            for name, folder in folders.items():
                medians[name].append(1e3 * float(np.median(updates_of(folder, batch_size)["seconds"])))
        then, now = (np.array(medians[name]) for name in folders)
        rows.append({"batch_size": batch_size, "before": spread(then), "now": spread(now), "ratio": spread(then / now)})
    profiles: dict[str, list[list[dict[str, Any]]]] = {name: [] for name in folders}
    for _ in range(PROFILES):
        for name, folder in folders.items():
            profiles[name].append(updates_of(folder, PROFILED, "profile")["operations"])
    operations = {name: sorted(found, key=_milliseconds)[PROFILES // 2] for name, found in profiles.items()}
    commit = subprocess.run(
        ["git", "-C", before, "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return {"commit_before": commit.stdout.strip(), "rows": rows, "operations": operations}


def table(figures: dict[str, Any]) -> str:
    """Format the figures as Markdown: the times, then the operations."""
    commit = figures["commit_before"]
    lines = [f"| sequences x steps | {commit}: CPU ms | now: CPU ms | {commit} / now |", "|---|---|---|---|"]
    for row in figures["rows"]:
        lines.append(
            f"| {row['batch_size']} x 20 | {show(row['before'], 1)} | {show(row['now'], 1)} | {show(row['ratio'])} |"
        )
    then, now = ({row["name"]: row for row in figures["operations"][name]} for name in ("before", "now"))
    none = {"calls": 0.0, "ms": 0.0}
    lines += ["", f"| operation | {commit}: calls | ms | now: calls | ms |", "|---|---:|---:|---:|---:|"]
    rest = [0.0, 0.0, 0.0, 0.0]
    for name in sorted({*then, *now}, key=lambda name: -now.get(name, none)["ms"]):
        cells = [side.get(name, none)[key] for side in (then, now) for key in ("calls", "ms")]
        if max(cells[1], cells[3]) < SHOWN_MS:
            rest = [sum(pair) for pair in zip(rest, cells, strict=True)]
        else:
            lines.append(_operation(f"`{name}`", cells))
    lines.append(_operation("all others", rest))
    lines.append(
        _operation("**all**", [sum(row[key] for row in side.values()) for side in (then, now) for key in none])
    )
    return "\n".join(lines)


def _milliseconds(operations: list[dict[str, Any]]) -> float:
    return float(sum(row["ms"] for row in operations))


def _operation(name: str, cells: list[float]) -> str:
    return f"| {name} | {cells[0]:,.0f} | {cells[1]:.1f} | {cells[2]:,.0f} | {cells[3]:.1f} |"


if __name__ == "__main__":
    command(__doc__, measure, table, before="before", repetitions=7)
