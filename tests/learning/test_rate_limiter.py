"""Samples per insert: held exactly, whatever the pattern of insertions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meme57.learning.rate_limiter import RateLimiter


def limiter(ratio: float = 6.0, warm_up: int = 10, batch: int = 8) -> RateLimiter:
    return RateLimiter(samples_per_insert=ratio, min_sequences=warm_up, batch_size=batch)


def test_by_hand() -> None:
    limit = limiter()
    limit.insert(10)
    assert not limit.may_update  # the warm-up is owed nothing
    limit.insert(1)
    assert not limit.may_update  # 6 draws are owed, a batch is 8
    limit.insert(1)
    assert limit.may_update  # 12
    limit.draw()
    assert not limit.may_update  # 4 are left
    assert limit.samples_per_insert == 8 / 2


@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=60),
    st.sampled_from([0.3, 1.0, 6.0, 17.5]),
    st.integers(0, 50),
    st.integers(1, 64),
)
@settings(max_examples=150)
def test_drawn_never_exceeds_the_ratio_and_lags_less_than_a_batch(
    inserts: list[int], ratio: float, warm_up: int, batch: int
) -> None:
    limit, inserted, drawn = limiter(ratio, warm_up, batch), 0, 0
    for count in inserts:
        limit.insert(count)
        inserted += count
        while limit.may_update:
            limit.draw()
            drawn += batch
        owed = ratio * (inserted - warm_up)
        assert drawn <= max(0.0, owed) + 1e-9
        assert drawn > owed - batch - 1e-9


def test_ratio_converges() -> None:
    limit, rng = limiter(), np.random.default_rng(0)
    for count in rng.integers(0, 7, 3000):
        limit.insert(int(count))
        while limit.may_update:
            limit.draw()
    assert limit.samples_per_insert == pytest.approx(6.0, rel=2e-3)


def test_restored_state_goes_on() -> None:
    first, second = limiter(), limiter()
    first.insert(15)
    first.draw()
    second.load_state_dict(first.state_dict())
    for limit in (first, second):
        limit.insert(2)
    assert (second.may_update, second.state_dict()) == (first.may_update, first.state_dict())
