"""Scores and their uncertainty: normalisation, robust aggregates, the stratified bootstrap. NumPy only.

A normalised score is a fraction: 0 is random play, 1 the human (or the record).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meme57.errors import ConfigurationError
from meme57.evaluation.reference import has_reference, reference_score

Scores = NDArray[np.float64]
Statistic = Callable[[Scores], float]


class Interval(NamedTuple):
    """A confidence interval, in the units of the statistic it belongs to."""

    low: float
    high: float


@overload
def human_normalised(score: float, game: str) -> float: ...
@overload
def human_normalised(score: ArrayLike, game: str) -> Any: ...
def human_normalised(score: ArrayLike, game: str) -> Any:
    """HNS = (score - random) / (human - random), elementwise; a float for a float.

    Raises:
        ConfigurationError: `game` (as in `ALE/Pong-v5` or `Pong`) has no reference scores.
    """
    reference = reference_score(game)
    return _normalise(score, reference.random, reference.human)


@overload
def capped_human_normalised(score: float, game: str) -> float: ...
@overload
def capped_human_normalised(score: ArrayLike, game: str) -> Any: ...
def capped_human_normalised(score: ArrayLike, game: str) -> Any:
    """CHNS = max(min(HNS, 1), 0), so that no single game carries the mean. Source: Agent57, section 4."""
    capped = np.clip(human_normalised(np.asarray(score, np.float64), game), 0.0, 1.0)
    return float(capped) if capped.ndim == 0 else capped


@overload
def record_normalised(score: float, game: str) -> float: ...
@overload
def record_normalised(score: ArrayLike, game: str) -> Any: ...
def record_normalised(score: ArrayLike, game: str) -> Any:
    """(score - random) / (record - random): 1 is the human world record.

    Raises:
        ConfigurationError: `game` has no reference scores, or its record is not known.
    """
    reference = reference_score(game)
    if reference.record is None:
        raise ConfigurationError(f"no world record is known for {reference.game}: use human_normalised instead.")
    return _normalise(score, reference.random, reference.record)


def mean(scores: ArrayLike) -> float:
    """The arithmetic mean of all scores."""
    return float(_flat(scores).mean())


def median(scores: ArrayLike) -> float:
    """The middle score; of an even number, the mean of the two in the middle."""
    return float(np.median(_flat(scores)))


def interquartile_mean(scores: ArrayLike) -> float:
    """IQM: the mean of what is left when floor(n/4) scores are dropped at each end. Source: Agarwal et al. 2021."""
    ordered = np.sort(_flat(scores))
    dropped = ordered.size // 4
    return float(ordered[dropped : ordered.size - dropped].mean())


def optimality_gap(scores: ArrayLike, *, target: float = 1.0) -> float:
    """The mean shortfall below `target`, mean(target - min(score, target)); 0 is best. Source: Agarwal et al. 2021."""
    return float((target - np.minimum(_flat(scores), target)).mean())


def stratified_bootstrap(
    scores_by_game: Mapping[str, ArrayLike],
    statistic: Callable[[Scores], Any],
    *,
    repetitions: int,
    confidence: float,
    seed: int,
) -> Interval:
    """The percentile interval (low, high) of `statistic`, with scores resampled within each game.

    Args:
        scores_by_game: game to its scores `[n_game]`; no game may be empty.
        statistic: takes the games' scores concatenated in the mapping's order `[n]`, gives one number.
        repetitions: number of resamplings.
        confidence: e.g. 0.95, strictly between 0 and 1.
        seed: of the resampling; equal arguments give equal intervals.

    Raises:
        ConfigurationError: no scores, a score that is not finite, or an impossible `repetitions` or `confidence`.
    """
    if repetitions < 1:
        raise ConfigurationError(f"repetitions={repetitions} is not possible: a bootstrap needs at least 1.")
    if not 0.0 < confidence < 1.0:
        raise ConfigurationError(f"confidence={confidence} is not possible: give a fraction such as 0.95.")
    games = [_flat(scores) for scores in scores_by_game.values()]
    if not games:
        raise ConfigurationError("no scores to resample: run at least one episode.")
    sizes = np.array([scores.size for scores in games])
    scores = np.concatenate(games)
    size = np.repeat(sizes, sizes)  # [n]: how many scores this score's game has
    first = np.repeat(np.cumsum(sizes) - sizes, sizes)  # [n]: where they start
    generator = np.random.default_rng(seed)
    draws = [float(statistic(scores[first + generator.integers(size)])) for _ in range(repetitions)]
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))


def summarise_returns(
    returns: ArrayLike, game: str, *, confidence: float, repetitions: int, seed: int
) -> dict[str, Any]:
    """One agent's episode returns on one game as JSON-able numbers, in points unless normalised.

    `std` is the population standard deviation of the returns; `interval` is the bootstrap interval of their mean;
    `human_normalised` holds that mean and interval normalised, and is None for a game without reference scores.
    """
    scores = _flat(returns)
    interval = stratified_bootstrap({game: scores}, np.mean, repetitions=repetitions, confidence=confidence, seed=seed)
    return {
        "episodes": int(scores.size),
        "mean": mean(scores),
        "median": median(scores),
        "std": float(scores.std()),
        "min": float(scores.min()),
        "max": float(scores.max()),
        "iqm": interquartile_mean(scores),
        "interval": list(interval),
        "human_normalised": _normalised_summary(mean(scores), interval, game) if has_reference(game) else None,
    }


def _normalised_summary(score: float, interval: Interval, game: str) -> dict[str, Any]:
    return {
        "mean": human_normalised(score, game),
        "interval": [human_normalised(bound, game) for bound in interval],
    }


def _normalise(score: ArrayLike, zero: float, one: float) -> Any:
    normalised = (np.asarray(score, np.float64) - zero) / (one - zero)
    return float(normalised) if normalised.ndim == 0 else normalised


def _flat(scores: ArrayLike) -> Scores:
    flat = np.asarray(scores, np.float64).reshape(-1)
    if not flat.size:
        raise ConfigurationError("no scores to summarise: run at least one episode.")
    if not np.isfinite(flat).all():
        raise ConfigurationError(f"a score is {flat[~np.isfinite(flat)][0]}: returns must be finite numbers.")
    return flat
