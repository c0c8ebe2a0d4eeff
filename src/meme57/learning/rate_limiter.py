"""Keeping samples per insert exact: how often a sequence is drawn does not depend on the machine's speed."""

from __future__ import annotations


class RateLimiter:
    """Allows an update when drawing its batch keeps drawn / inserted at or below `samples_per_insert`.

    Counting begins after the warm-up: sequences inserted before then give no right to draws.
    Source: MEME: 6 samples per insert [reported]; the accounting [ours].
    """

    def __init__(self, *, samples_per_insert: float, min_sequences: int, batch_size: int) -> None:
        self._ratio = samples_per_insert
        self._min = min_sequences
        self._batch = batch_size
        self._drawn = 0
        self._inserted = 0

    def insert(self, count: int) -> None:
        """Record that `count` sequences entered the replay."""
        self._inserted += count

    def draw(self) -> None:
        """Record that one batch was drawn."""
        self._drawn += self._batch

    @property
    def may_update(self) -> bool:
        """Whether one more batch may be drawn."""
        return self._drawn + self._batch <= self._credit

    @property
    def samples_per_insert(self) -> float:
        """Drawn / inserted since the warm-up."""
        return self._drawn / max(1, self._inserted - self._min)

    @property
    def _credit(self) -> float:
        return self._ratio * (self._inserted - self._min)

    def state_dict(self) -> dict[str, int]:
        """Return the state as JSON types."""
        return {"drawn": self._drawn, "inserted": self._inserted}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Restore `state_dict()`."""
        self._drawn, self._inserted = state["drawn"], state["inserted"]
