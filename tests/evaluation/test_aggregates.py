"""Aggregates over games and seeds against hand values, naive loops and published tables."""

import math

import numpy as np
import pytest
from scipy import stats

from meme57.errors import ConfigurationError
from meme57.evaluation import aggregates as a
from meme57.evaluation.published import published_scores
from meme57.evaluation.statistics import human_normalised, interquartile_mean, optimality_gap

DRAWS = {"repetitions": 400, "confidence": 0.9, "seed": 5}


def test_aggregate_by_hand():
    scores = {"Pong": [0.0, 1.0], "Breakout": [2.0, 4.0], "Freeway": [0.5]}
    found = a.aggregate(scores)
    # game means 0.5, 3.0, 0.5
    assert found["median"] == 0.5
    assert found["mean"] == pytest.approx(4 / 3)
    # all runs 0, 0.5, 1, 2, 4: one dropped at each end, (0.5 + 1 + 2) / 3
    assert found["iqm"] == pytest.approx(3.5 / 3)
    # shortfalls 1, 0.5, 0, 0, 0
    assert found["optimality_gap"] == pytest.approx(0.3)


def test_iqm_and_gap_are_those_of_statistics():
    generator = np.random.default_rng(0)
    scores = {game: generator.normal(1, 2, size=7) for game in "abcd"}
    runs = np.concatenate(list(scores.values()))
    assert a.aggregate(scores)["iqm"] == pytest.approx(interquartile_mean(runs))
    assert a.aggregate(scores)["optimality_gap"] == pytest.approx(optimality_gap(runs))


def test_published_aggregates_of_agent57_follow_from_its_table():
    published = published_scores("agent57_final")
    found = a.aggregate({game: [human_normalised(score, game)] for game, score in published.items()})
    assert 100 * found["mean"] == pytest.approx(4766.2, abs=0.1)
    assert 100 * found["median"] == pytest.approx(1933.49, abs=0.01)
    assert found["optimality_gap"] == 0.0  # every game above human


def test_profile_by_hand():
    scores = {"Pong": [0.0, 1.0, 1.0, 2.0], "Breakout": [1.0]}
    # above -1: 1, 1; above 0: 3/4, 1; above 1: 1/4, 0; above 2: none
    np.testing.assert_allclose(a.performance_profile(scores, [-1.0, 0.0, 1.0, 2.0]), [1.0, 0.875, 0.125, 0.0])


def test_profile_band_holds_the_profile_and_falls():
    scores = {"Pong": np.random.default_rng(1).random(20), "Breakout": np.random.default_rng(2).random(20)}
    thresholds = np.linspace(-0.1, 1.1, 13)
    low, high = a.profile_band(scores, thresholds, **DRAWS)
    profile = a.performance_profile(scores, thresholds)
    assert (low <= profile).all()
    assert (profile <= high).all()
    assert (np.diff(profile) <= 0).all()
    assert (low[0], high[0], low[-1], high[-1]) == (1, 1, 0, 0)


def test_improvement_by_hand():
    first = {"Pong": [1.0, 3.0], "Breakout": [5.0], "Alien": [9.0]}
    second = {"Pong": [2.0, 3.0], "Breakout": [4.0, 6.0, 5.0]}
    # Pong: 1 < 2, 1 < 3, 3 > 2, 3 = 3 -> 1.5 of 4; Breakout: 5 > 4, 5 < 6, 5 = 5 -> 1.5 of 3; Alien has no pair
    assert a.probability_of_improvement(first, second) == pytest.approx((0.375 + 0.5) / 2)
    assert a.probability_of_improvement(second, first) == pytest.approx(1 - 0.4375)
    assert a.probability_of_improvement(first, first) == 0.5


def test_improvement_interval_tells_a_difference_from_none():
    generator = np.random.default_rng(3)
    plain = {game: generator.normal(0, 1, 15) for game in ("Pong", "Breakout")}
    better = {game: generator.normal(2, 1, 15) for game in ("Pong", "Breakout")}
    same = {game: generator.normal(0, 1, 15) for game in ("Pong", "Breakout")}
    low, high = a.improvement_interval(better, plain, **DRAWS)
    assert 0.5 < low < a.probability_of_improvement(better, plain) < high <= 1.0
    low, high = a.improvement_interval(same, plain, **DRAWS)
    assert low < 0.5 < high


def test_improvement_interval_equals_a_naive_loop():
    first, second = {"Pong": [1.0, 4.0, 2.0]}, {"Pong": [0.0, 3.0]}
    generator = np.random.default_rng(5)
    x = np.array(first["Pong"])[generator.integers(3, size=(400, 3))]
    y = np.array(second["Pong"])[generator.integers(2, size=(400, 2))]
    drawn = [np.mean([(p > q) + 0.5 * (p == q) for p in row for q in other]) for row, other in zip(x, y, strict=True)]
    # 5 runs of 2 samples, 3 degrees of freedom: t = 2.3534 times sqrt(5 / 3) is 3.0382, beyond which 0.119 % lie
    beyond = 0.5 * math.erfc(2.353363 * math.sqrt(5 / 3) / math.sqrt(2))
    expected = tuple(np.quantile(drawn, [beyond, 1 - beyond]))
    assert a.improvement_interval(first, second, **DRAWS) == pytest.approx(expected, abs=1e-5)


def test_the_mean_of_games_has_satterthwaites_interval_by_hand():
    scores = {"Pong": [1.0, 3.0], "Breakout": [4.0, 5.0, 6.0]}
    # Variances of the games' means 2 / 2 = 1 and 1 / 3; of their mean (1 + 1/3) / 4 = 1/3. Degrees of freedom
    # (1/4 + 1/12)^2 / ((1/4)^2 / 1 + (1/12)^2 / 2) = 0.11111 / 0.065972 = 1.68421
    reach = stats.t.ppf(0.975, 1.684211) * (1 / 3) ** 0.5
    assert a.mean_interval(scores, confidence=0.95) == pytest.approx((3.5 - reach, 3.5 + reach), rel=1e-5)
    # Shortfalls: Pong 0, 0; Breakout 0, 0, 0; nothing varies.
    settings = {**DRAWS, "confidence": 0.95}
    assert a.aggregate_intervals(scores, **settings)["optimality_gap"] == (0.0, 0.0)
    gap = a.aggregate_intervals({"Pong": [0.0, 0.5], "Breakout": [0.2, 0.4, 0.6]}, **settings)["optimality_gap"]
    # (1 + 0.5 + 0.8 + 0.6 + 0.4) / 5 = 0.66; variances 0.125 / 2 and 0.04 / 3, weights 2/5 and 3/5: 0.01 and 0.0048;
    # 0.0148^2 / (0.01^2 / 1 + 0.0048^2 / 2) = 0.00021904 / 0.00011152 = 1.964132
    reach = stats.t.ppf(0.975, 1.964132) * 0.0148**0.5
    assert gap == pytest.approx((0.66 - reach, 0.66 + reach), rel=1e-5)


def test_the_iqm_of_one_game_has_the_bootstraps_standard_error():
    runs = np.random.default_rng(8).normal(size=12)
    low, high = a.aggregate_intervals({"Pong": runs}, **{**DRAWS, "repetitions": 4_000})["iqm"]
    drawn = runs[np.random.default_rng(9).integers(12, size=(4_000, 12))]
    error = np.std([interquartile_mean(row) for row in drawn]) * (12 / 11) ** 0.5
    assert (high - low) / 2 == pytest.approx(stats.t.ppf(0.95, 11) * error, rel=0.05)
    assert (high + low) / 2 == pytest.approx(interquartile_mean(runs))


def test_pairs_that_all_go_one_way_leave_no_interval():
    assert a.improvement_interval({"Pong": [3.0, 4.0]}, {"Pong": [1.0, 2.0]}, **DRAWS) is None


def test_intervals_hold_the_value_and_one_seed_has_none():
    generator = np.random.default_rng(7)
    scores = {game: generator.normal(1, 1, size=10) for game in ("Pong", "Breakout", "Freeway")}
    values, intervals = a.aggregate(scores), a.aggregate_intervals(scores, **DRAWS)
    assert set(values) == set(intervals) == set(a.STATISTICS)
    for name, (low, high) in intervals.items():
        assert low < values[name] < high, name
    alone = {"Pong": [1.0], "Breakout": [3.0]}
    assert set(a.aggregate_intervals(alone, **DRAWS).values()) == {None}
    assert a.mean_interval(alone, confidence=0.9) is None
    assert a.profile_band(alone, [0.0], **DRAWS) is None
    assert a.improvement_interval(alone, scores, **DRAWS) is None


def test_games_count_alike_whatever_their_number_of_runs():
    assert a.aggregate({"Pong": [0.0] * 9, "Breakout": [1.0]})["mean"] == 0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: a.aggregate({}), "no scores"),
        (lambda: a.aggregate({"Pong": []}), "no scores"),
        (lambda: a.performance_profile({"Pong": [np.nan]}, [0.0]), "not finite"),
        (lambda: a.probability_of_improvement({"Pong": [1.0]}, {"Breakout": [1.0]}), "no game has runs of both"),
    ],
)
def test_impossible_arguments_are_refused(call, message):
    with pytest.raises(ConfigurationError, match=message):
        call()


def test_the_band_is_expanded_by_hand():
    # Two of five runs are above 2.5: all five drawn ones are with 0.4^5 = 1.02 %. t(4) = 2.1318 leaves 1.65 % at 90 %;
    # times sqrt(5 / 4) it is 2.3835 and leaves 0.86 %. So the upper end is 1, and not 4 / 5.
    band = a.profile_band({"Pong": np.arange(5.0)}, [2.5], repetitions=100_000, confidence=0.9, seed=0)
    assert [float(end[0]) for end in band] == [0.0, 1.0]
