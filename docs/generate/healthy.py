"""The metrics of one whole run on the laptop: early, half-way and late."""

from __future__ import annotations

import csv
from pathlib import Path

PARTS = {
    "50,000 to 250,000 frames": (50_000, 250_000),
    "0.75 M to 1 M": (750_000, 1_000_000),
    "1.75 M to 2 M": (1_750_000, 2_010_000),
}
LEFT_OUT = ("frames", "updates", "elapsed_seconds", "episodes/count", "episodes/finished")


def table(curve: Path) -> str:
    """Tabulate the mean of each part, one metric per line."""
    with curve.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    lines = [f"| metric | {' | '.join(PARTS)} |", f"|---|{'---:|' * len(PARTS)}"]
    for name in sorted(set(rows[0]) - set(LEFT_OUT)):
        cells = [_mean(rows, name, low, high) for low, high in PARTS.values()]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _mean(rows: list[dict[str, str]], name: str, low: float, high: float) -> str:
    values = [float(row[name]) for row in rows if low <= float(row["frames"]) < high and row[name]]
    if not values:
        return "-"
    mean = sum(values) / len(values)
    return f"{mean:,.0f}" if mean >= 1000 else f"{mean:.4g}"
