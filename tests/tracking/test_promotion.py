from __future__ import annotations

import pytest

from meme57.tracking.promotion import PolicyScore, decide_promotion, score_from_tags, score_tags


@pytest.mark.parametrize(
    ("low", "champion", "margin", "promoted"),
    [
        (1.1, None, 0.0, True),  # clears random play (1.0)
        (1.0, None, 0.0, False),  # only touches it
        (1.1, None, 5.0, True),  # the margin is between policies, not against random play
        (10.1, 10.0, 0.0, True),
        (10.0, 10.0, 0.0, False),
        (12.0, 10.0, 2.0, False),
        (12.1, 10.0, 2.0, True),
    ],
)
def test_rule(low: float, champion: float | None, margin: float, promoted: bool) -> None:
    decision, reason = decide_promotion(challenger_low=low, champion_mean=champion, random_mean=1.0, margin=margin)
    assert decision is promoted
    assert f"{low:g}" in reason


def test_score_survives_its_tags() -> None:
    score = PolicyScore(mean=0.1 + 0.2, low=-21.0, high=1e-9, episodes=100, protocol="a|b", random_mean=-20.7)
    assert score_from_tags(score_tags(score)) == score
    assert score_from_tags({}) is None
