"""The scores of one learning run against frames, and the single number that they give."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from meme57.files import read_json, write_json

Point = tuple[int, float]
"""Frames, and the mean score since the previous point."""

LAST_SHARE = 0.25
"""The share of the frames, at the end, that `final` averages."""


def summarise(points: Sequence[Point], metric: Literal["final", "auc"], *, frames: int) -> float | None:
    """Compute the mean score over frames 0 to `frames` (auc) or their last quarter (final); None without a point.

    A point stands for the frames since the previous one. If none reaches into the last quarter, the last one counts.
    """
    start = 0.0 if metric == "auc" else (1 - LAST_SHARE) * frames
    total = weight = 0.0
    before = 0
    for at, score in points:
        overlap = max(0.0, min(at, frames) - max(before, start))
        total, weight, before = total + overlap * score, weight + overlap, at
    if weight > 0:
        return total / weight
    return points[-1][1] if points else None


class Curve:
    """Points on disk, so that a resumed run has the points before its checkpoint."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.points: list[Point] = [(int(at), float(score)) for at, score in read_json(path)] if path.exists() else []

    def add(self, frames: int, score: float) -> None:
        """Append a finite point; drop points at or beyond `frames`, since a resumed run repeats them."""
        if not math.isfinite(score):
            return
        self.points = [point for point in self.points if point[0] < frames] + [(frames, score)]
        write_json(self._path, self.points)

    def drop_after(self, frames: int) -> None:
        """Drop the points beyond `frames`, where a run resumed: a kill lost what they stood for."""
        self.points = [point for point in self.points if point[0] <= frames]

    def until(self, frames: int, *, slack: int) -> list[Point]:
        """Return the points up to `frames`, and the one that crossed it, since a row covers a whole round of steps."""
        before = [point for point in self.points if point[0] < frames]
        crossing = [point for point in self.points if frames <= point[0] < frames + slack]
        return before + crossing[:1]
