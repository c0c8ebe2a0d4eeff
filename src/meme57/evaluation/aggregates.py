"""Scores of several runs on several games: aggregates, performance profile, probability of improvement.

A run is one score; the argument is `{game: [runs]}`. Means have Student's interval with Satterthwaite's degrees of
freedom. Other statistics use the stratified bootstrap, which resamples runs within each game, and a correction for few
runs. If a game has one run there is no interval. docs/evaluation.md has the measured coverage of each.
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
    """Compute the median and mean of the games' mean scores, and the IQM and optimality gap of all runs."""
    games = _by_game(scores)
    values = {
        "median": _median(games),
        "mean": np.mean([runs.mean() for runs in games]),
        "iqm": _iqm(games),
        "optimality_gap": _shortfall(np.concatenate(games)).mean(),
    }
    return {name: float(value) for name, value in values.items()}


def aggregate_intervals(scores: Runs, *, repetitions: int, confidence: float, seed: int) -> dict[str, Interval | None]:
    """Compute the interval of each statistic of `aggregate`; None if a game has one run."""
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
    """Compute the interval of the mean over games of their mean scores; None if a game has one run."""
    return _mean(_by_game(scores)).interval(confidence)


def performance_profile(scores: Runs, thresholds: ArrayLike) -> Array:
    """Compute the share of runs above each threshold, averaged within each game, then over games: [K].

    Source: Agarwal et al. 2021, run-score distribution.
    """
    return _profile(_by_game(scores), np.asarray(thresholds, np.float64))


def profile_band(
    scores: Runs, thresholds: ArrayLike, *, repetitions: int, confidence: float, seed: int
) -> tuple[Array, Array] | None:
    """Compute the pointwise interval of `performance_profile`: low [K] and high [K]; None if a game has one run."""
    games, at = _by_game(scores), np.asarray(thresholds, np.float64)
    if _has_single(games):
        return None
    return _percentiles(games, lambda drawn: _profile(drawn, at), repetitions, confidence, seed)


def probability_of_improvement(first: Runs, second: Runs) -> float:
    """Compute P(a run of `first` beats one of `second`), a tie counting half, averaged over the games of both.

    Raises:
        ConfigurationError: no game is in both.
    """
    return float(_beats(_by_game(_shared(first, second)) + _by_game(_shared(second, first))))


def improvement_interval(
    first: Runs, second: Runs, *, repetitions: int, confidence: float, seed: int
) -> Interval | None:
    """Compute the interval of `probability_of_improvement`; both sides are resampled.

    None if a side has one run of a game, or if all resamplings agree (every pair was won, or lost): so few runs cannot
    distinguish 100 % from slightly less.
    """
    games = _by_game(_shared(first, second)) + _by_game(_shared(second, first))
    if _has_single(games):
        return None
    low, high = (float(bound) for bound in _percentiles(games, _beats, repetitions, confidence, seed))
    return None if low == high else Interval(low, high)


Statistic = Callable[[list[Array]], Array]
"""Computes a statistic of the runs [..., n] of each game: [...]."""


def _mean(games: list[Array]) -> Estimate:
    return weighted_sum([mean_of(runs) for runs in games], np.full(len(games), 1 / len(games)))


def _estimate(games: list[Array], statistic: Statistic, repetitions: int, seed: int) -> Estimate:
    """Estimate the statistic with the bootstrap's variance.

    A resampled variance is too small by the factor (n - 1) / n. The correction counts the runs of all games together
    [ours]. Few runs have few distinct resamplings, so percentiles would be narrower still.
    """
    value, degrees = np.asarray(statistic(games)), _degrees(games)
    if _has_single(games):
        return Estimate(value, np.asarray(np.nan), np.asarray(0.0))
    error = _bootstrap(games, statistic, repetitions, 0.95, seed).standard_error
    return Estimate(value, np.asarray(error**2 * _runs(games) / degrees), np.asarray(degrees))


def _percentiles(
    games: list[Array], statistic: Statistic, repetitions: int, confidence: float, seed: int
) -> tuple[Array, Array]:
    """Compute low and high [...] of a statistic between 0 and 1.

    Source: Hesterberg 2015, "What teachers should know about the bootstrap" (expanded percentiles), with the runs and
    degrees of freedom of all games together [ours].
    """
    from scipy.special import ndtr, stdtrit

    degrees = _degrees(games)
    reach = stdtrit(degrees, (1 + confidence) / 2) * np.sqrt(_runs(games) / degrees)
    found = _bootstrap(games, statistic, repetitions, float(2 * ndtr(reach) - 1), seed).confidence_interval
    return found.low, found.high


def _bootstrap(games: list[Array], statistic: Statistic, repetitions: int, confidence: float, seed: int) -> Any:
    """Resample the runs within each game."""
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
    """Compute the median of the games' means: runs [..., n] of each game -> [...]."""
    median: Array = np.median(np.stack([runs.mean(axis=-1) for runs in games]), axis=0)
    return median


def _iqm(games: list[Array]) -> Array:
    """Compute the IQM of all runs: runs [..., n] of each game -> [...]."""
    runs = np.sort(np.concatenate(games, axis=-1), axis=-1)
    dropped = runs.shape[-1] // 4
    iqm: Array = runs[..., dropped : runs.shape[-1] - dropped].mean(axis=-1)
    return iqm


def _shortfall(runs: Array) -> Array:
    """Compute how far each run is below 1."""
    return 1.0 - np.minimum(runs, 1.0)


def _profile(games: list[Array], thresholds: Array) -> Array:
    """Compute the performance profile: runs [..., n] of each game -> [K, ...]."""
    at = thresholds.reshape(-1, *[1] * games[0].ndim)
    shares: Array = np.mean([(runs > at).mean(axis=-1) for runs in games], axis=0)
    return shares


def _beats(games: list[Array]) -> Array:
    """Compute the share of pairs that the first half of `games` wins against the second (Mann-Whitney): [...]."""
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
