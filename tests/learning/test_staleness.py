"""The age of weights behind a chunk, measured and bounded."""

from __future__ import annotations

from types import SimpleNamespace

from meme57.learning.staleness import Staleness


def test_ages_are_measured_and_chunks_above_the_limit_refused() -> None:
    staleness = Staleness(5)
    chunks = [SimpleNamespace(weight_version=version) for version in (20, 17, 15, 14)]  # ages 0, 3, 5, 6
    assert staleness.fresh(chunks, 20) == chunks[:3]
    assert staleness.row() == {
        "actors/staleness_updates": 3.5,
        "actors/staleness_largest_updates": 6.0,
        "actors/refused_chunks": 1.0,
    }
    assert staleness.row() == {"actors/refused_chunks": 1.0}  # nothing arrived since
