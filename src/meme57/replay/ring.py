"""The sequences present and their probabilities: a ring over ever-increasing ids with a sum tree."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from meme57.errors import ReplayError
from meme57.replay.sum_tree import SumTree

PRIORITY_FLOOR = 1e-6  # so that a sequence of priority 0 can still be drawn [ours]
FIRST_PRIORITY = 1.0  # priority of a new sequence when no other is present [ours]

Ids = npt.NDArray[np.int64]


class PrioritisedRing:
    """Sequence `id` lies in slot `id % capacity`; when the ring is full a new sequence replaces the oldest one.

    P(i) = p_i^exponent / sum_k p_k^exponent. Source: prioritised replay [inherited]. A new sequence enters with the
    largest priority present [ours]. That maximum is computed over all priorities at each insertion, so it is right
    after any eviction or update. The cost is linear but small, since each sequence stands for 80 agent steps: 0.03 ms
    measured for 2e5 sequences and 0.3 ms for 1e6.
    """

    def __init__(self, capacity: int, exponent: float) -> None:
        self.capacity = capacity
        self.exponent = exponent
        self.num_inserted = 0
        self._priorities = np.zeros(capacity, dtype=np.float64)
        self._tree = SumTree(capacity)

    def __len__(self) -> int:
        return min(self.num_inserted, self.capacity)

    def ids(self) -> Ids:
        """Return the ids present, oldest first."""
        return np.arange(self.num_inserted - len(self), self.num_inserted, dtype=np.int64)

    def priorities(self) -> npt.NDArray[np.float64]:
        """Return the priorities, oldest sequence first."""
        return self._priorities[self.ids() % self.capacity]

    def effective_share(self) -> float:
        """Return the draw's effective sample size over the sequences present: 1 / (n sum P(i)^2); 1 is uniform."""
        weights = self._tree.get(self.ids() % self.capacity)
        return float(weights.sum() ** 2 / (len(weights) * np.square(weights).sum())) if len(weights) else 1.0

    def insert(self, count: int) -> None:
        """Add `count` sequences under the next ids, with the largest priority that was present before."""
        if count == 0:
            return
        largest = float(self._priorities[: len(self)].max()) if len(self) else FIRST_PRIORITY
        ids = np.arange(self.num_inserted, self.num_inserted + count, dtype=np.int64)[-self.capacity :]
        self.num_inserted += count
        self._set(ids, np.full(len(ids), largest))

    def update(self, ids: npt.ArrayLike, priorities: npt.ArrayLike) -> None:
        """Set priorities [K] of `ids` [K]. Evicted ids are ignored; if an id is repeated, its last value counts.

        `ReplayError`, nothing changed: a priority is negative or not finite, an id was never assigned, or the shapes
        differ.
        """
        wanted, values = np.asarray(ids), np.asarray(priorities, dtype=np.float64)
        if wanted.shape != values.shape or wanted.ndim != 1:
            raise ReplayError(f"priorities {values.shape} do not fit sequence ids {wanted.shape}; both must be [K]")
        if not np.all(np.isfinite(values) & (values >= 0)):
            raise ReplayError("a priority is negative or not finite; look for a loss that is not finite")
        if wanted.size and (
            not np.issubdtype(wanted.dtype, np.integer) or wanted.min() < 0 or wanted.max() >= self.num_inserted
        ):
            raise ReplayError(f"a sequence id was never assigned; ids are integers in 0..{self.num_inserted - 1}")
        present = wanted >= self.num_inserted - len(self)
        self._set(wanted[present].astype(np.int64), np.maximum(values[present], PRIORITY_FLOOR))

    def draw(self, count: int, rng: np.random.Generator) -> tuple[Ids, npt.NDArray[np.float64]]:
        """Draw ids [count] with replacement; return them and their probabilities P(i) [count].

        The draw is stratified: one position in each of `count` equal parts of the total weight. That keeps each
        sequence's expected number of draws, count * P(i), and lowers its variance [ours]. `ReplayError`: it is empty.
        """
        if not len(self):
            raise ReplayError("the replay holds no sequence yet; collect until an episode or two periods are complete")
        total = self._tree.total
        positions = (np.arange(count) + rng.random(count)) / count * total
        slots = self._tree.find(np.minimum(positions, np.nextafter(total, 0.0)))
        newest = self.num_inserted - 1
        return newest - (newest - slots) % self.capacity, self._tree.get(slots) / total

    def restore(self, num_inserted: int, priorities: npt.NDArray[np.float64]) -> None:
        """Restore the values of `num_inserted` and `priorities()`. `ReplayError`: they do not fit each other."""
        if num_inserted < 0 or priorities.shape != (min(num_inserted, self.capacity),):
            raise ReplayError(f"{priorities.shape} priorities do not fit {num_inserted} sequences inserted")
        if not np.all(np.isfinite(priorities) & (priorities > 0)):
            raise ReplayError("a stored priority is not a positive number")
        self.num_inserted = num_inserted
        self._set(self.ids(), priorities)

    def _set(self, ids: Ids, priorities: npt.NDArray[np.float64]) -> None:
        slots = ids % self.capacity
        self._tree.set(slots, priorities**self.exponent)
        self._priorities[slots] = priorities
