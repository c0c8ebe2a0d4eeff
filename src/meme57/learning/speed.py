"""How fast a run goes: frames and updates a second between two log lines, and the time since it began."""

from __future__ import annotations

from collections.abc import Callable


class Speed:
    """Counts from `start`, and from row to row; `elapsed_seconds` are those of the whole run, resumes included."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.elapsed_seconds = 0.0
        self._since, self._frames, self._updates = clock(), 0, 0

    def start(self, frames: int, updates: int) -> None:
        """The next row counts from here."""
        self._since, self._frames, self._updates = self._clock(), frames, updates

    def row(self, frames: int, updates: int) -> dict[str, float]:
        """Counters, and what a second brought since the last row."""
        since, before_frames, before_updates = self._since, self._frames, self._updates
        self.start(frames, updates)
        seconds = max(1e-9, self._since - since)
        self.elapsed_seconds += seconds
        return {
            "frames": float(frames),
            "updates": float(updates),
            "elapsed_seconds": self.elapsed_seconds,
            "speed/frames_per_second": (frames - before_frames) / seconds,
            "speed/updates_per_second": (updates - before_updates) / seconds,
        }
