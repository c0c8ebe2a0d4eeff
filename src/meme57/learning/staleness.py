"""The age of the weights that played the arriving experience, and the limit on it."""

from __future__ import annotations

from collections.abc import Iterable

from meme57.replay import Chunk


class Staleness:
    """Measures a chunk's age: learner updates between its first weights and its arrival; `row` starts over."""

    def __init__(self, limit_updates: float) -> None:
        self._limit = limit_updates
        self.num_refused = 0
        self._sum = self._count = self._largest = 0

    def fresh(self, chunks: Iterable[Chunk], num_updates: int) -> list[Chunk]:
        """Return the chunks within the limit and count the others. No sequence bridges the gap that those leave."""
        taken = []
        for chunk in chunks:
            age = num_updates - chunk.weight_version
            self._sum, self._count, self._largest = self._sum + age, self._count + 1, max(self._largest, age)
            if age <= self._limit:
                taken.append(chunk)
            else:
                self.num_refused += 1
        return taken

    def row(self) -> dict[str, float]:
        """Return the mean and largest age since the last row, in updates, and the chunks refused so far."""
        row = {"actors/refused_chunks": float(self.num_refused)}
        if self._count:
            row["actors/staleness_updates"] = self._sum / self._count
            row["actors/staleness_largest_updates"] = float(self._largest)
        self._sum = self._count = self._largest = 0
        return row
