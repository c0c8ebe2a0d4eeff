"""Statistics against hand values, a naive bootstrap, and their own promise of coverage."""

import json
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from meme57.errors import ConfigurationError
from meme57.evaluation import statistics as s
from meme57.intervals import mean_of


def test_human_normalised_by_hand():
    # Pong: random -20.7, human 14.6, so a span of 35.3; (-3.05 + 20.7) / 35.3 = 17.65 / 35.3 = 0.5
    assert s.human_normalised(-3.05, "ALE/Pong-v5") == pytest.approx(0.5)
    assert s.human_normalised(-20.7, "Pong") == 0.0
    assert s.human_normalised(14.6, "Pong") == 1.0
    assert isinstance(s.human_normalised(3, "Pong"), float)
    np.testing.assert_allclose(s.human_normalised([-20.7, -3.05, 14.6], "Pong"), [0.0, 0.5, 1.0])


def test_capped_score_lies_between_0_and_1():
    np.testing.assert_allclose(s.capped_human_normalised([-21.0, -3.05, 21.0], "Pong"), [0.0, 0.5, 1.0], atol=1e-12)
    assert s.capped_human_normalised(21.0, "Pong") == 1.0


def test_record_normalised_by_hand():
    # Breakout: random 1.7, record 864, span 862.3; (432.85 - 1.7) / 862.3 = 431.15 / 862.3 = 0.5
    assert s.record_normalised(432.85, "Breakout") == pytest.approx(0.5)
    with pytest.raises(ConfigurationError, match="no world record is known for Surround"):
        s.record_normalised(0.0, "Surround")


def test_no_reference_no_normalised_score():
    with pytest.raises(ConfigurationError, match="no reference scores for Adventure"):
        s.human_normalised(1.0, "ALE/Adventure-v5")


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([5.0], 5.0),  # floor(1/4) = 0 dropped
        ([0.0, 1.0, 8.0], 3.0),  # floor(3/4) = 0 dropped: (0 + 1 + 8) / 3
        ([100.0, 1.0, 3.0, -50.0], 2.0),  # 1 dropped at each end: (1 + 3) / 2
        ([7, 1, 2, 3, 4, 5, 6], 4.0),  # 1 at each end: (2 + 3 + 4 + 5 + 6) / 5
        ([8, 1, 2, 3, 4, 5, 6, 70], 4.5),  # 2 at each end: (3 + 4 + 5 + 6) / 4
    ],
)
def test_interquartile_mean_by_hand(scores, expected):
    assert s.interquartile_mean(scores) == pytest.approx(expected)


def test_mean_median_and_gap_by_hand():
    assert s.mean([1, 2, 6]) == 3.0
    assert s.median([1, 2, 6]) == 2.0
    assert s.median([1, 2, 4, 6]) == 3.0  # (2 + 4) / 2
    # (1 - 0.25) + (1 - 1) + (1 - 1) + (1 + 0.5) = 2.25, over 4
    assert s.optimality_gap([0.25, 1.0, 30.0, -0.5]) == pytest.approx(0.5625)
    assert s.optimality_gap([0.25, 30.0], target=2.0) == pytest.approx(0.875)  # (1.75 + 0) / 2


def naive_bootstrap(scores_by_game, statistic, repetitions, confidence, seed):
    """One draw at a time, in the order game by game, score by score."""
    generator = np.random.default_rng(seed)
    values = []
    for _ in range(repetitions):
        sample = []
        for scores in scores_by_game.values():
            sample += [scores[int(i)] for i in generator.integers(len(scores), size=len(scores))]
        values.append(statistic(np.array(sample)))
    values.sort()

    def percentile(fraction):
        position = fraction * (len(values) - 1)
        below = int(position)
        above = min(below + 1, len(values) - 1)
        return values[below] + (position - below) * (values[above] - values[below])

    return percentile((1 - confidence) / 2), percentile((1 + confidence) / 2)


@pytest.mark.parametrize("statistic", [np.mean, np.median, s.interquartile_mean])
def test_stratified_bootstrap_equals_the_naive_loop(statistic):
    scores = {"Pong": [1.0, 5.0, 2.0], "Breakout": [10.0, 40.0, 20.0, 80.0, 30.0], "Freeway": [7.0]}
    fast = s.stratified_bootstrap(scores, statistic, repetitions=200, confidence=0.9, seed=3)
    assert fast == pytest.approx(naive_bootstrap(scores, statistic, 200, 0.9, 3), rel=1e-12)
    assert fast != s.stratified_bootstrap(scores, statistic, repetitions=200, confidence=0.9, seed=4)


def test_games_are_resampled_apart():
    # Within a game the scores are equal, so every resampling is the original: the interval has no width.
    scores, seen = {"Pong": [1.0] * 4, "Breakout": [100.0] * 2}, []

    def mean(sample):
        seen.append(sample.tolist())
        return np.mean(sample)

    assert s.stratified_bootstrap(scores, mean, repetitions=50, confidence=0.95, seed=0) == (34.0, 34.0)  # 204 / 6
    assert seen == [[1.0, 1.0, 1.0, 1.0, 100.0, 100.0]] * 50


def test_the_interval_covers_the_mean_about_as_often_as_it_says():
    generator = np.random.default_rng(0)
    covered = 0
    for seed in range(300):
        sample = generator.normal(5.0, 2.0, size=30)
        low, high = s.mean_interval(sample, repetitions=200, confidence=0.9, seed=seed)
        covered += low <= 5.0 <= high
    assert 0.83 < covered / 300 < 0.95  # 0.9, less the known shortfall at n = 30, within 3 standard errors


@pytest.mark.parametrize(
    ("scores", "arguments", "message"),
    [
        ([], {}, "no scores"),
        ([1.0, np.nan], {}, "a score is nan"),
        ([1.0], {"repetitions": 0}, "repetitions=0"),
        ([1.0], {"confidence": 95}, "confidence=95"),
    ],
)
def test_impossible_arguments_are_refused(scores, arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        s.mean_interval(scores, **{"repetitions": 10, "confidence": 0.9, "seed": 0, **arguments})
    with pytest.raises(ConfigurationError, match=message):
        s.stratified_bootstrap(
            {"Pong": scores}, np.mean, **{"repetitions": 10, "confidence": 0.9, "seed": 0, **arguments}
        )


def test_summary_by_hand():
    summary = s.summarise_returns([-21, -20, -19, -3], "Pong", confidence=0.95, repetitions=500, seed=1)
    # mean -63 / 4; squared deviations 27.5625 + 18.0625 + 10.5625 + 162.5625 = 218.75, over 4 = 54.6875
    assert summary["episodes"] == 4
    assert summary["mean"] == -15.75
    assert summary["median"] == -19.5
    assert summary["std"] == pytest.approx(54.6875**0.5)
    assert (summary["min"], summary["max"], summary["iqm"]) == (-21.0, -3.0, -19.5)
    # Student: variance 218.75 / 3 = 72.917, standard error sqrt(72.917 / 4) = 4.2696, t(3) = 3.1824, reach 13.588
    low, high = summary["interval"]
    assert (low, high) == (pytest.approx(-29.338, abs=1e-3), pytest.approx(-2.162, abs=1e-3))
    normalised = summary["human_normalised"]
    assert normalised["mean"] == pytest.approx(4.95 / 35.3)  # (-15.75 + 20.7) / 35.3
    assert normalised["interval"] == pytest.approx([(low + 20.7) / 35.3, (high + 20.7) / 35.3])
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_summary_of_a_game_without_reference_is_raw():
    summary = s.summarise_returns(np.array([1.0, 2.0]), "Corridor", confidence=0.9, repetitions=50, seed=1)
    assert summary["human_normalised"] is None
    assert summary["mean"] == 1.5


def test_one_episode_has_no_interval():
    summary = s.summarise_returns([7.0], "Pong", confidence=0.95, repetitions=50, seed=1)
    assert summary["interval"] is None
    assert summary["human_normalised"]["interval"] is None


def test_a_mean_of_few_values_is_students_and_of_many_the_bootstraps():
    values = np.random.default_rng(2).exponential(size=s.FEW)
    settings = {"repetitions": 2_000, "confidence": 0.95, "seed": 3}
    few, many = values[:-1], values
    t = stats.t.interval(0.95, few.size - 1, few.mean(), stats.sem(few))
    assert s.mean_interval(few, **settings) == pytest.approx(t)
    draws = {"n_resamples": 2_000, "confidence_level": 0.95, "method": "BCa"}
    bca = stats.bootstrap((many,), np.mean, **draws, rng=np.random.default_rng(3)).confidence_interval
    assert s.mean_interval(many, **settings) == pytest.approx(tuple(bca))


def test_values_that_are_all_the_same_have_an_interval_without_width():
    for n in (2, 32):
        assert s.mean_interval([0.1] * n, repetitions=50, confidence=0.95, seed=0) == pytest.approx((0.1, 0.1))


@pytest.mark.filterwarnings("ignore")
def test_a_mean_has_bounds_however_few_the_repetitions():
    values = np.arange(40.0)
    low, high = s.mean_interval(values, repetitions=1, confidence=0.95, seed=0)
    assert np.isfinite([low, high]).all()


@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_few_gaussian_values_are_held_as_often_as_it_says(n):
    """The percentile bootstrap held 75 % with n = 3, 82 % with 5, 89 % with 10."""
    samples = np.random.default_rng(4).normal(size=(20_000, n))
    estimate = mean_of(samples)
    held = int((np.abs(estimate.value) <= estimate.reach(0.95)).sum())
    assert stats.binomtest(held, 20_000, 0.95).pvalue > 1e-3


def test_a_bare_machine_can_import_it():
    heavy = "{'pandas', 'scipy', 'plotly', 'torch', 'mlflow', 'kedro', 'imageio_ffmpeg'}"
    code = f"import sys, meme57.evaluation.statistics; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
