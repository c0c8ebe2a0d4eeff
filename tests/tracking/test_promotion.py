"""The champion rule by hand, and how often it errs and finds, by simulation (benchmarks/rates.py)."""

from __future__ import annotations

import math
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from meme57.pipelines.register import nodes
from meme57.tracking.promotion import (
    ERROR,
    PolicyScore,
    Sample,
    compare,
    decide_promotion,
)

RATES = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "rates.py"), run_name="rates")
REPETITIONS = 4_000
SCORE = PolicyScore(
    mean=10.0, std=3.0, low=8.0, high=12.0, episodes=10, protocol="p", random_mean=1.0, random_std=3.0,
    random_episodes=10,
)  # fmt: skip
# Two samples of ten with deviation 3 (ddof 0): variance of the difference 2 * 9 / 9 = 2, 18 degrees. The first
# challenge may err with 0.0125: t(18) = 2.4450, reach 3.4577; the second with 0.0041667: t = 2.9627, reach 4.1899.


@pytest.mark.parametrize(
    ("mean", "challenge", "margin", "promoted"),
    [
        (13.5, 1, 0.0, True),
        (13.4, 1, 0.0, False),
        (13.5, 2, 0.0, False),
        (14.2, 2, 0.0, True),
        (13.5, 1, 2.0, False),
        (15.5, 1, 2.0, True),
    ],
)
def test_a_challenger_must_be_better_by_what_chance_cannot_do(
    mean: float, challenge: int, margin: float, promoted: bool
) -> None:
    decision, reason = decide_promotion(replace(SCORE, mean=mean), SCORE, challenge=challenge, margin=margin)
    assert decision is promoted
    needed = {1: 3.458, 2: 4.19}[challenge] + margin
    assert f"(n 10 and 10, challenge {challenge}); needed: more than {needed:.4g}" in reason
    assert f"difference {mean - 10:+.4g}, {97.5 if challenge == 1 else 99.17} % interval [" in reason
    assert reason.startswith("better than the champion" if promoted else "not shown to be better than the champion")


@pytest.mark.parametrize(("mean", "margin", "promoted"), [(4.5, 0.0, True), (4.4, 0.0, False), (4.5, 9.0, True)])
def test_the_first_champion_must_be_better_than_random_play(mean: float, margin: float, promoted: bool) -> None:
    """The margin is between policies, not against random play."""
    decision, reason = decide_promotion(replace(SCORE, mean=mean), None, challenge=1, margin=margin)
    assert decision is promoted
    assert reason.startswith("first champion: better than" if promoted else "no champion: not shown to be better than")


def test_it_is_welchs_interval_for_samples_of_one_size() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(1.0, 1.0, 12), rng.normal(0.0, 5.0, 12)
    found = compare(Sample(x.mean(), x.std(), 12), Sample(y.mean(), y.std(), 12), challenge=1)
    welch = stats.ttest_ind(x, y, equal_var=False).confidence_interval(1 - ERROR)
    assert (found.difference - found.reach, found.difference + found.reach) == pytest.approx((welch.low, welch.high))


def test_the_larger_sample_counts_as_large_as_the_smaller() -> None:
    few, many = Sample(5.0, 1.0, 8), Sample(4.0, 2.0, 800)
    for ours, theirs in ((few, many), (many, few)):
        found = compare(ours, theirs, challenge=3)
        assert found.reach == compare(replace(ours, n=8), replace(theirs, n=8), challenge=3).reach


@pytest.mark.parametrize(
    ("ours", "theirs", "n", "promoted"),
    [
        (32.0, 32.0, 32, False),
        (0.1 + 0.2, 0.3, 32, False),  # the same but for rounding
        (33.0, 32.0, 32, True),
        (31.0, 32.0, 32, False),
        (33.0, 32.0, 2, False),  # two and two equal episodes fall so in one of six cases
        (33.0, 32.0, 5, True),  # one of 252
    ],
)
def test_policies_that_always_score_the_same(ours: float, theirs: float, n: int, promoted: bool) -> None:
    score, champion = (replace(SCORE, mean=mean, std=0.0, episodes=n) for mean in (ours, theirs))
    decision, reason = decide_promotion(score, champion, challenge=1, margin=0.0)
    assert decision is promoted
    assert ("too few episodes to tell" if n == 2 else "all episodes of each had the same return") in reason
    assert not decide_promotion(score, champion, challenge=1, margin=1.0)[0]  # 33 is not better than 32 by more than 1


def test_the_errors_of_all_challenges_together_are_the_error_of_one_champion() -> None:
    errors = [(1 - compare(Sample(0, 1, 9), Sample(0, 1, 9), challenge=k).confidence) / 2 for k in range(1, 1001)]
    assert sum(errors) == pytest.approx(ERROR * (1 - 1 / 1001))


def at_most(share: float, bound: float) -> bool:
    """Whether so many of REPETITIONS may come from a rate within the bound (one in 10,000 times it would not)."""
    return stats.binomtest(round(share * REPETITIONS), REPETITIONS, bound, alternative="greater").pvalue > 1e-4


@pytest.mark.parametrize("returns", sorted(RATES["RETURNS"]))
@pytest.mark.parametrize(("champion", "challenger"), [(32, 32), (100, 32), (32, 100), (4, 4)])
def test_ten_equal_challengers_replace_a_champion_rarely(returns: str, champion: int, challenger: int) -> None:
    """The rule before did with 34 % of Gaussian ones."""
    draw, rng = RATES["RETURNS"][returns], np.random.default_rng(1)
    share = RATES["false_promotions"](draw, rng, champion=champion, challenger=challenger, repetitions=REPETITIONS)
    assert at_most(share, ERROR)


def test_the_simulation_sees_a_rule_that_errs() -> None:
    draw, rng = RATES["RETURNS"]["Gaussian"], np.random.default_rng(1)
    share = RATES["false_promotions"](
        draw, rng, champion=32, challenger=32, repetitions=500, rule=RATES["promoted_before"]
    )
    assert share > 0.2


@pytest.mark.parametrize("returns", ["Gaussian", "exponential", "exponential, to the left", "lognormal"])
@pytest.mark.parametrize("episodes", [32, 100])
@pytest.mark.parametrize("challenge", [1, 10])
def test_two_standard_deviations_are_found(returns: str, episodes: int, challenge: int) -> None:
    draw, rng = RATES["RETURNS"][returns], np.random.default_rng(2)
    gain = 2 * RATES["DEVIATIONS"].get(returns, 1.0)
    found = RATES["power"](draw, rng, episodes=episodes, gain=gain, challenge=challenge, repetitions=REPETITIONS)
    assert found >= 0.8


def test_the_confidence_is_told_in_full_however_many_the_challenges() -> None:
    _, reason = decide_promotion(SCORE, SCORE, challenge=1000, margin=0.0)  # 1 - 0.05 / (1000 * 1001)
    assert "99.999995 % interval" in reason


def test_a_score_of_games_that_were_cut_makes_no_champion() -> None:
    better = replace(SCORE, mean=SCORE.random_mean + 1_000.0)
    assert decide_promotion(better, None, challenge=1, margin=0.0)[0]
    for champion in (None, SCORE):
        promoted, why = decide_promotion(replace(better, cut_short=1), champion, challenge=1, margin=0.0)
        assert not promoted
        assert "1 of" in why
        assert "games were cut before their end" in why


def test_the_score_of_a_run_is_read_from_its_own_entries() -> None:
    teacher = {"mean": 3.0, "std": 0.5, "interval": [2.0, 4.5], "episodes": 7, "cut_short": 1}
    random = {"mean": -1.0, "std": 0.25, "interval": None, "episodes": 9}
    scores = {"agents": {"teacher": teacher, "random": random}, "protocol": {"name": "p1"}}
    expected = PolicyScore(
        mean=3.0, std=0.5, low=2.0, high=4.5, episodes=7, protocol="p1", random_mean=-1.0, random_std=0.25,
        random_episodes=9, cut_short=1,
    )  # fmt: skip
    assert nodes._policy_score("teacher", scores) == expected
    teacher |= {"interval": None}
    found = nodes._policy_score("teacher", scores)
    assert (found.low, found.high) == (-math.inf, math.inf)  # of one game nothing is known
