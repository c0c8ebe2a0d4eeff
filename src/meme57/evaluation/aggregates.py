"""Scores of several runs on several games: aggregates, performance profile, probability of improvement.

A run is one score; runs lie by game, `{game: [runs]}`. Means have Student's interval with Satterthwaite's degrees of
freedom. What has no such formula is resampled run by run within each game (the stratified bootstrap) and widened where
runs are few. Where a game has one run there is no interval. How often each holds the truth: docs/evaluation.md.
Source: Agarwal et al. 2021, "Deep RL at the edge of the statistical precipice".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meme57.errors import ConfigurationError
from meme57.intervals import Estimate, Interval, mean_of, weighted_sum

Array = NDArray[np.float64]
Runs = Mapping[str, ArrayLike]

STATISTICS = ("median", "mean", "iqm", "optimality_gap")


def aggregate(scores: Runs) -> dict[str, float]:
    """Median and mean of the games' mean scores, IQM and optimality gap of all runs."""
    games = _by_game(scores)
    values = {
        "median": _median(games),
        "mean": np.mean([runs.mean() for runs in games]),
        "iqm": _iqm(games),
        "optimality_gap": _shortfall(np.concatenate(games)).mean(),
    }
    return {name: float(value) for name, value in values.items()}


def aggregate_intervals(scores: Runs, *, repetitions: int, confidence: float, seed: int) -> dict[str, Interval | None]:
    """The interval of each statistic of `aggregate`; None where a game has one run."""
    games = _by_game(scores)
    shares = np.array([runs.size for runs in games]) / sum(runs.size for runs in games)
    estimates = {
        "median": _estimate(games, _median, repetitions, seed),
        "mean": _mean(games),
        "iqm": _estimate(games, _iqm, repetitions, seed),
        "optimality_gap": weighted_sum([mean_of(_shortfall(runs)) for runs in games], shares),
    }
    return {name: estimate.interval(confidence) for name, estimate in estimates.items()}


def mean_interval(scores: Runs, *, confidence: float) -> Interval | None:
    """The interval of the mean over games of their mean scores; None where a game has one run."""
    return _mean(_by_game(scores)).interval(confidence)


def performance_profile(scores: Runs, thresholds: ArrayLike) -> Array:
    """The share of runs with a score above each threshold, averaged within each game, then over games: [K].

    Source: Agarwal et al. 2021, run-score distribution.
    """
    return _profile(_by_game(scores), np.asarray(thresholds, np.float64))


def profile_band(
    scores: Runs, thresholds: ArrayLike, *, repetitions: int, confidence: float, seed: int
) -> tuple[Array, Array] | None:
    """The pointwise interval of `performance_profile`: low [K] and high [K]; None where a game has one run."""
    games, at = _by_game(scores), np.asarray(thresholds, np.float64)
    if _has_single(games):
        return None
    return _percentiles(games, lambda drawn: _profile(drawn, at), repetitions, confidence, seed)


def probability_of_improvement(first: Runs, second: Runs) -> float:
    """P(a run of `first` beats one of `second`), a tie counting half, averaged over the games that both have.

    Raises:
        ConfigurationError: there is no such game.
    """
    return float(_beats(_by_game(_shared(first, second)) + _by_game(_shared(second, first))))


def improvement_interval(
    first: Runs, second: Runs, *, repetitions: int, confidence: float, seed: int
) -> Interval | None:
    """The interval of `probability_of_improvement`; both sides are resampled.

    None where a side has one run of a game, and where all resamplings agree (every pair was won, or lost): runs that
    few cannot tell 100 % from somewhat less.
    """
    games = _by_game(_shared(first, second)) + _by_game(_shared(second, first))
    if _has_single(games):
        return None
    low, high = (float(bound) for bound in _percentiles(games, _beats, repetitions, confidence, seed))
    return None if low == high else Interval(low, high)


Statistic = Callable[[list[Array]], Array]
"""Of the runs [..., n] by game: [...]."""


def _mean(games: list[Array]) -> Estimate:
    return weighted_sum([mean_of(runs) for runs in games], np.full(len(games), 1 / len(games)))


def _estimate(games: list[Array], statistic: Statistic, repetitions: int, seed: int) -> Estimate:
    """The statistic with the bootstrap's variance.

    A resampled variance is too small by the factor (n - 1) / n, which is given back with the runs of all games together
    [ours]. Of few runs there are few resamplings, so that percentiles would be narrower still.
    """
    value, degrees = np.asarray(statistic(games)), _degrees(games)
    if _has_single(games):
        return Estimate(value, np.asarray(np.nan), np.asarray(0.0))
    error = _bootstrap(games, statistic, repetitions, 0.95, seed).standard_error
    return Estimate(value, np.asarray(error**2 * _runs(games) / degrees), np.asarray(degrees))


def _percentiles(
    games: list[Array], statistic: Statistic, repetitions: int, confidence: float, seed: int
) -> tuple[Array, Array]:
    """Low and high [...] of a statistic that stays between 0 and 1.

    Source: Hesterberg 2015, "What teachers should know about the bootstrap" (expanded percentiles), with the runs and
    degrees of freedom of all games together [ours].
    """
    from scipy.special import ndtr, stdtrit

    degrees = _degrees(games)
    reach = stdtrit(degrees, (1 + confidence) / 2) * np.sqrt(_runs(games) / degrees)
    found = _bootstrap(games, statistic, repetitions, float(2 * ndtr(reach) - 1), seed).confidence_interval
    return found.low, found.high


def _bootstrap(games: list[Array], statistic: Statistic, repetitions: int, confidence: float, seed: int) -> Any:
    """Runs resampled within each game."""
    from scipy.stats import bootstrap

    return bootstrap(
        games, lambda *drawn, axis: statistic(list(drawn)), vectorized=True, method="percentile",
        n_resamples=repetitions, confidence_level=confidence, rng=np.random.default_rng(seed),
    )  # fmt: skip


def _has_single(games: list[Array]) -> bool:
    return min(runs.size for runs in games) < 2


def _runs(games: list[Array]) -> int:
    return sum(runs.size for runs in games)


def _degrees(games: list[Array]) -> int:
    return _runs(games) - len(games)


def _median(games: list[Array]) -> Array:
    """Of the games' means: of runs [..., n] by game, [...]."""
    median: Array = np.median(np.stack([runs.mean(axis=-1) for runs in games]), axis=0)
    return median


def _iqm(games: list[Array]) -> Array:
    """Of all runs: of runs [..., n] by game, [...]."""
    runs = np.sort(np.concatenate(games, axis=-1), axis=-1)
    dropped = runs.shape[-1] // 4
    iqm: Array = runs[..., dropped : runs.shape[-1] - dropped].mean(axis=-1)
    return iqm


def _shortfall(runs: Array) -> Array:
    """Below 1, run by run."""
    return 1.0 - np.minimum(runs, 1.0)


def _profile(games: list[Array], thresholds: Array) -> Array:
    """Of runs [..., n] by game, [K, ...]."""
    at = thresholds.reshape(-1, *[1] * games[0].ndim)
    shares: Array = np.mean([(runs > at).mean(axis=-1) for runs in games], axis=0)
    return shares


def _beats(games: list[Array]) -> Array:
    """The share of pairs that the first half of `games` wins against the second (Mann-Whitney), over games: [...]."""
    half = len(games) // 2
    shares = []
    for ours, theirs in zip(games[:half], games[half:], strict=True):
        difference = ours[..., :, None] - theirs[..., None, :]
        shares.append(((difference > 0) + 0.5 * (difference == 0)).mean(axis=(-2, -1)))
    share: Array = np.mean(shares, axis=0)
    return share


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
