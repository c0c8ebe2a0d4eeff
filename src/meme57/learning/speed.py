"""The speed of a run: frames and updates per second between two log lines, and the time since it began."""

from __future__ import annotations

from collections.abc import Callable


class Speed:
    """Counts from `start`, and from row to row; `elapsed_seconds` covers the whole run, across resumes."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.elapsed_seconds = 0.0
        self._since, self._frames, self._updates = clock(), 0, 0

    def start(self, frames: int, updates: int) -> None:
        """Make the next row count from here."""
        self._since, self._frames, self._updates = self._clock(), frames, updates

    def row(self, frames: int, updates: int) -> dict[str, float]:
        """Return the counters, and the rates per second since the last row."""
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
