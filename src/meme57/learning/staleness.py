"""How old the weights behind arriving experience are, and the bound on it."""

from __future__ import annotations

from collections.abc import Iterable

from meme57.replay import Chunk


class Staleness:
    """Measures chunks in learner updates between the weights that began them and their arrival; `row` starts over."""

    def __init__(self, limit_updates: float) -> None:
        self._limit = limit_updates
        self.num_refused = 0
        self._sum = self._count = self._largest = 0

    def fresh(self, chunks: Iterable[Chunk], num_updates: int) -> list[Chunk]:
        """Those within the limit; the others are counted. No sequence bridges the gap that they leave."""
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
        """Mean and largest age since the last row, in updates; chunks refused so far."""
        row = {"actors/refused_chunks": float(self.num_refused)}
        if self._count:
            row["actors/staleness_updates"] = self._sum / self._count
            row["actors/staleness_largest_updates"] = float(self._largest)
        self._sum = self._count = self._largest = 0
        return row
