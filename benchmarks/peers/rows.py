"""The rows that both sides write, and a clock that stands still while games are scored. Needs no other package."""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev

COLUMNS = ("agent", "game", "seed", "seconds", "cpu_seconds", "frames", "mean", "deviation", "episodes")
EPISODES = 10
EPISODE_FRAMES = 27_000
"""Longest scored game; a greedy policy that stands still would play for half an hour otherwise."""


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return the options that all sides have."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--game", default="Pong")
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--minutes", type=float, default=30.0)
    made.add_argument("--out", type=Path, default=Path("rows.csv"))
    return made


class Clock:
    """Wall and CPU seconds of learning: what scoring takes is left out."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.monotonic(), time.process_time()
        self._since: tuple[float, float] | None = None

    def __enter__(self) -> Clock:
        self._since = self.seconds, self.cpu_seconds
        return self

    def __exit__(self, *error: object) -> None:
        assert self._since is not None
        self._wall += self.seconds - self._since[0]
        self._cpu += self.cpu_seconds - self._since[1]

    @property
    def seconds(self) -> float:
        """Wall seconds so far."""
        return time.monotonic() - self._wall

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds of this process so far, all threads."""
        return time.process_time() - self._cpu


def append(path: Path, identity: Sequence[object], clock: Clock, frames: int, returns: Sequence[float]) -> None:
    """Append a row, and print it; `identity` is agent, game and seed."""
    spread = stdev(returns) if len(returns) > 1 else 0.0
    row = (
        *identity,
        round(clock.seconds),
        round(clock.cpu_seconds),
        frames,
        round(fmean(returns), 2),
        round(spread, 2),
        len(returns),
    )
    is_new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        if is_new:
            writer.writerow(COLUMNS)
        writer.writerow(row)
    print(dict(zip(COLUMNS, row, strict=True)), flush=True)
