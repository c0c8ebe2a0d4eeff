"""Aggregates over games and seeds against hand values, naive loops and published tables."""

import numpy as np
import pytest

from meme57.errors import ConfigurationError
from meme57.evaluation import aggregates as a
from meme57.evaluation.reference import published_scores
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
    ours, theirs = np.random.default_rng(5), np.random.default_rng(6)
    x = np.array(first["Pong"])[ours.integers(3, size=(400, 3))]
    y = np.array(second["Pong"])[theirs.integers(2, size=(400, 2))]
    drawn = [np.mean([(p > q) + 0.5 * (p == q) for p in row for q in other]) for row, other in zip(x, y, strict=True)]
    assert a.improvement_interval(first, second, **DRAWS) == pytest.approx(tuple(np.quantile(drawn, [0.05, 0.95])))


def test_intervals_hold_the_value_and_one_seed_has_no_width():
    generator = np.random.default_rng(7)
    scores = {game: generator.normal(1, 1, size=10) for game in ("Pong", "Breakout", "Freeway")}
    values, intervals = a.aggregate(scores), a.aggregate_intervals(scores, **DRAWS)
    assert set(values) == set(intervals) == set(a.STATISTICS)
    for name, (low, high) in intervals.items():
        assert low < values[name] < high, name
    alone = {"Pong": [1.0], "Breakout": [3.0]}
    assert a.aggregate_intervals(alone, **DRAWS)["mean"] == (2.0, 2.0)
    assert a.mean_interval(alone, **DRAWS) == (2.0, 2.0)


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
