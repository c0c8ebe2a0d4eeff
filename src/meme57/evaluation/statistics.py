"""Scores and their uncertainty: normalisation, robust aggregates, intervals. NumPy and SciPy only.

A normalised score is a fraction: 0 is random play, 1 the human (or the record). docs/evaluation.md says which interval
belongs to which number, and how often it covers the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meme57.errors import ConfigurationError
from meme57.evaluation.reference import has_reference, reference_score
from meme57.intervals import Interval, mean_of

Scores = NDArray[np.float64]

FEW = 20
"""Fewer values than this have Student's interval; a resampled one would cover the mean too rarely [ours]."""


@overload
def human_normalised(score: float, game: str) -> float: ...
@overload
def human_normalised(score: ArrayLike, game: str) -> Any: ...
def human_normalised(score: ArrayLike, game: str) -> Any:
    """Compute HNS = (score - random) / (human - random), elementwise; a float for a float.

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
    """Compute CHNS = max(min(HNS, 1), 0), so that no single game dominates the mean. Source: Agent57, section 4."""
    capped = np.clip(human_normalised(np.asarray(score, np.float64), game), 0.0, 1.0)
    return float(capped) if capped.ndim == 0 else capped


@overload
def record_normalised(score: float, game: str) -> float: ...
@overload
def record_normalised(score: ArrayLike, game: str) -> Any: ...
def record_normalised(score: ArrayLike, game: str) -> Any:
    """Compute (score - random) / (record - random): 1 is the human world record.

    Raises:
        ConfigurationError: `game` has no reference scores, or its record is not known.
    """
    reference = reference_score(game)
    if reference.record is None:
        raise ConfigurationError(f"no world record is known for {reference.game}: use human_normalised instead.")
    return _normalise(score, reference.random, reference.record)


def mean(scores: ArrayLike) -> float:
    """Compute the arithmetic mean of all scores."""
    return float(_flat(scores).mean())


def median(scores: ArrayLike) -> float:
    """Compute the middle score; for an even number of scores, the mean of the middle two."""
    return float(np.median(_flat(scores)))


def interquartile_mean(scores: ArrayLike) -> float:
    """Compute the IQM: the mean after dropping floor(n/4) scores at each end. Source: Agarwal et al. 2021."""
    ordered = np.sort(_flat(scores))
    dropped = ordered.size // 4
    return float(ordered[dropped : ordered.size - dropped].mean())


def optimality_gap(scores: ArrayLike, *, target: float = 1.0) -> float:
    """Compute mean(target - min(score, target)), the mean shortfall; 0 is best. Source: Agarwal et al. 2021."""
    return float((target - np.minimum(_flat(scores), target)).mean())


def stratified_bootstrap(
    scores_by_game: Mapping[str, ArrayLike],
    statistic: Callable[[Scores], float],
    *,
    repetitions: int,
    confidence: float,
    seed: int,
) -> Interval:
    """Compute the percentile interval of `statistic` [n] -> number, with scores resampled within each game.

    It is too narrow where games have few scores: use `mean_interval` for a mean, and `aggregates` for runs.

    Args:
        scores_by_game: scores `[n_game]` of each game; the statistic gets those of all games, concatenated.

    Raises:
        ConfigurationError: no scores, a score that is not finite, or an impossible `repetitions` or `confidence`.
    """
    _check_resampling(repetitions, confidence)
    games = [_flat(scores) for scores in scores_by_game.values()] or [_flat([])]
    rng = np.random.default_rng(seed)
    drawn = [statistic(np.concatenate([rng.choice(game, game.size) for game in games])) for _ in range(repetitions)]
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))


def mean_interval(values: ArrayLike, *, repetitions: int, confidence: float, seed: int) -> Interval | None:
    """Compute the interval of the mean of independent values; None for one value.

    Fewer than `FEW` values get Student's interval. More get the bias-corrected and accelerated bootstrap (BCa), which
    fits skewed and rare returns better. Equal values give an interval of width 0: nothing varied, but other values
    remain possible.

    Raises:
        ConfigurationError: no values, a value that is not finite, or an impossible `repetitions` or `confidence`.
    """
    from scipy.stats import bootstrap  # imported here, so that a machine without SciPy can train

    _check_resampling(repetitions, confidence)
    values = _flat(values)
    if values.size < FEW or np.ptp(values) == 0.0:
        return mean_of(values).interval(confidence)
    for method in ("BCa", "percentile"):  # with few repetitions BCa may have no bound
        rng = np.random.default_rng(seed)
        found = bootstrap(
            (values,), np.mean, n_resamples=repetitions, confidence_level=confidence, method=method, rng=rng
        ).confidence_interval
        if np.isfinite(found).all():
            break
    return Interval(float(found.low), float(found.high))


def _check_resampling(repetitions: int, confidence: float) -> None:
    if repetitions < 1:
        raise ConfigurationError(f"repetitions={repetitions} is not possible: a bootstrap needs at least 1.")
    if not 0.0 < confidence < 1.0:
        raise ConfigurationError(f"confidence={confidence} is not possible: give a fraction such as 0.95.")


def summarise_returns(
    returns: ArrayLike, game: str, *, confidence: float, repetitions: int, seed: int, cut_short: int = 0
) -> dict[str, Any]:
    """Summarise one agent's episode returns on one game as numbers for JSON, in points unless normalised.

    `std` is the population standard deviation of the returns. `interval` is the interval of their mean
    (`mean_interval`), None for one episode. `human_normalised` has the normalised mean and interval. It is None for a
    game without reference scores, and if any of the episodes was cut short: published scores are of whole games.
    """
    scores = _flat(returns)
    interval = mean_interval(scores, repetitions=repetitions, confidence=confidence, seed=seed)
    return {
        "episodes": int(scores.size),
        "mean": mean(scores),
        "median": median(scores),
        "std": float(scores.std()),
        "min": float(scores.min()),
        "max": float(scores.max()),
        "iqm": interquartile_mean(scores),
        "interval": None if interval is None else list(interval),
        "cut_short": cut_short,
        "human_normalised": _normalised_summary(mean(scores), interval, game)
        if has_reference(game) and not cut_short
        else None,
    }


def _normalised_summary(score: float, interval: Interval | None, game: str) -> dict[str, Any]:
    return {
        "mean": human_normalised(score, game),
        "interval": None if interval is None else [human_normalised(bound, game) for bound in interval],
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
