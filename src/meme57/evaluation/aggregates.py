"""Scores of several runs on several games: aggregates, performance profile, probability of improvement. NumPy only.

A run is one score; runs lie by game, `{game: [runs]}`. Everything is resampled run by run within each game (the
stratified bootstrap). Source: Agarwal et al. 2021, "Deep RL at the edge of the statistical precipice".
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meme57.errors import ConfigurationError
from meme57.evaluation.statistics import Interval

Array = NDArray[np.float64]
Runs = Mapping[str, ArrayLike]

STATISTICS = ("median", "mean", "iqm", "optimality_gap")


def aggregate(scores: Runs) -> dict[str, float]:
    """Median and mean of the games' mean scores, IQM and optimality gap of all runs."""
    return {name: float(values[0]) for name, values in _statistics([row[None] for row in _by_game(scores)]).items()}


def aggregate_intervals(scores: Runs, *, repetitions: int, confidence: float, seed: int) -> dict[str, Interval]:
    """The percentile interval of each statistic of `aggregate`; without width where each game has one run."""
    drawn = _statistics(resampled(scores, repetitions=repetitions, seed=seed))
    return {name: _interval(values, confidence) for name, values in drawn.items()}


def mean_interval(scores: Runs, *, repetitions: int, confidence: float, seed: int) -> Interval:
    """The interval of the mean over games of their mean scores."""
    drawn = np.stack([rows.mean(axis=1) for rows in resampled(scores, repetitions=repetitions, seed=seed)])
    return _interval(drawn.mean(axis=0), confidence)


def performance_profile(scores: Runs, thresholds: ArrayLike) -> Array:
    """The share of runs with a score above each threshold, averaged within each game, then over games: [K].

    Source: Agarwal et al. 2021, run-score distribution.
    """
    profile: Array = _profile([row[None] for row in _by_game(scores)], np.asarray(thresholds, np.float64))[0]
    return profile


def profile_band(
    scores: Runs, thresholds: ArrayLike, *, repetitions: int, confidence: float, seed: int
) -> tuple[Array, Array]:
    """The pointwise interval of `performance_profile`: low [K] and high [K]."""
    drawn = _profile(resampled(scores, repetitions=repetitions, seed=seed), np.asarray(thresholds, np.float64))
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return low, high


def probability_of_improvement(first: Runs, second: Runs) -> float:
    """P(a run of `first` beats one of `second`), a tie counting half, averaged over the games that both have.

    Raises:
        ConfigurationError: there is no such game.
    """
    pairs = zip(_by_game(_shared(first, second)), _by_game(_shared(second, first)), strict=True)
    return float(np.mean([_beats(x[None], y[None])[0] for x, y in pairs]))


def improvement_interval(first: Runs, second: Runs, *, repetitions: int, confidence: float, seed: int) -> Interval:
    """The percentile interval of `probability_of_improvement`; both sides are resampled."""
    ours = resampled(_shared(first, second), repetitions=repetitions, seed=seed)
    theirs = resampled(_shared(second, first), repetitions=repetitions, seed=seed + 1)
    drawn = np.mean([_beats(x, y) for x, y in zip(ours, theirs, strict=True)], axis=0)
    return _interval(drawn, confidence)


def resampled(scores: Runs, *, repetitions: int, seed: int) -> list[Array]:
    """For each game [R, n]: `repetitions` draws of its n runs, with replacement."""
    generator = np.random.default_rng(seed)
    return [row[generator.integers(row.size, size=(repetitions, row.size))] for row in _by_game(scores)]


def _statistics(games: list[Array]) -> dict[str, Array]:
    """Each statistic [R] of runs [R, n] by game."""
    means = np.stack([rows.mean(axis=1) for rows in games], axis=1)  # [R, G]
    runs = np.sort(np.concatenate(games, axis=1), axis=1)  # [R, all]
    dropped = runs.shape[1] // 4
    return {
        "median": np.median(means, axis=1),
        "mean": means.mean(axis=1),
        "iqm": runs[:, dropped : runs.shape[1] - dropped].mean(axis=1),
        "optimality_gap": (1.0 - np.minimum(runs, 1.0)).mean(axis=1),
    }


def _profile(games: list[Array], thresholds: Array) -> Array:
    """[R, K]."""
    shares: Array = np.mean([(rows[:, :, None] > thresholds).mean(axis=1) for rows in games], axis=0)
    return shares


def _beats(x: Array, y: Array) -> Array:
    """[R]: the share of pairs of x [R, n] and y [R, m] that x wins (Mann-Whitney)."""
    difference = x[:, :, None] - y[:, None, :]
    share: Array = ((difference > 0) + 0.5 * (difference == 0)).mean(axis=(1, 2))
    return share


def _interval(drawn: Array, confidence: float) -> Interval:
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))


def _shared(scores: Runs, other: Runs) -> dict[str, ArrayLike]:
    shared = {game: scores[game] for game in sorted(scores) if game in other}
    if not shared:
        raise ConfigurationError("no game has runs of both: nothing can be compared")
    return shared


def _by_game(scores: Runs) -> list[Array]:
    games = [np.asarray(runs, np.float64).reshape(-1) for runs in scores.values()]
    if not games or not all(runs.size for runs in games):
        raise ConfigurationError("no scores to aggregate: every game needs at least one run")
    if not all(np.isfinite(runs).all() for runs in games):
        raise ConfigurationError("a score is not finite: returns must be finite numbers")
    return games
