"""The champion rule, which decides when a challenger becomes champion: a pure function of stored facts.

The rule tests the difference of two means. All challenges of one champion share one error rate: the k-th challenge may
be wrong with probability `ERROR` / (k (k + 1)), and these sum to `ERROR` for any number of challenges. So equal
policies replace a champion with probability `ERROR` at most, even though all challenges use the same episodes of the
champion. docs/registry.md has the measured error rate and power.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meme57.intervals import ROUNDING, Array, difference, from_summary

ERROR = 0.025
"""Probability that any of a champion's challengers, none of them better, replaces it [ours]."""


@dataclass(frozen=True)
class PolicyScore:
    """The result of an evaluation: raw game score, its interval, and how it was measured."""

    mean: float
    std: float
    """Standard deviation of the episodes' returns, ddof 0, as in `scores.json`."""
    low: float
    high: float
    episodes: int
    protocol: str
    """Name of the evaluation protocol; scores under different protocols are not compared."""
    random_mean: float
    """Mean return of random play in the same game; the next two fields are also about random play."""
    random_std: float
    random_episodes: int
    cut_short: int = 0
    """Episodes that were cut before the length of published scores; a policy with any becomes no champion."""


@dataclass(frozen=True)
class Sample:
    """Episodes of one policy: mean, standard deviation (ddof 0) and number. Numbers, or arrays of one shape [...]."""

    mean: float | Array
    std: float | Array
    n: float | Array


@dataclass(frozen=True)
class Comparison:
    """A challenger compared with its rival [...]."""

    difference: Array
    reach: Array
    """Half the width of the difference's interval; infinite if there are too few episodes."""
    confidence: Array
    """Confidence of that interval; each end is wrong with probability (1 - confidence) / 2."""

    def exceeds(self, margin: float) -> NDArray[np.bool_]:
        """Say whether the interval lies above `margin` [...]."""
        above: NDArray[np.bool_] = self.difference - self.reach > margin
        return above


def compare(challenger: Sample, rival: Sample, *, challenge: int) -> Comparison:
    """Compute the difference of the means, with the confidence for the `challenge`-th challenge of one rival.

    The interval is Welch's, but the larger sample counts as large as the smaller one [ours]. Means of equally large
    samples are equally skewed, so skewed returns do not raise the error; with unequal samples they would. If no
    return of either policy varies, equal policies split like this with probability 1 / (ways to deal the episodes).
    """
    from scipy.special import binom

    error = ERROR / (challenge * (challenge + 1))
    n = np.minimum(challenger.n, rival.n)
    ours, theirs = (from_summary(sample.mean, sample.std, n) for sample in (challenger, rival))
    found = difference(ours, theirs)
    dealt = np.where(1 / binom(2 * n, n) <= error, ROUNDING * np.maximum(1.0, np.abs(theirs.value)), np.inf)
    reach = np.where(ours.is_constant & theirs.is_constant, dealt, found.reach(1 - 2 * error))
    return Comparison(found.value, np.where(np.isnan(reach), np.inf, reach), np.asarray(1 - 2 * error))


def decide_promotion(
    score: PolicyScore, champion: PolicyScore | None, *, challenge: int, margin: float
) -> tuple[bool, str]:
    """Decide whether the challenger beats the champion by `margin`; the first one must beat random play.

    Args:
        champion: None if there is no champion.
        challenge: number of this challenge of the champion (or of random play), from 1.

    Returns:
        The decision, and the reason in words.
    """
    if score.cut_short:
        return False, (
            f"not compared: {score.cut_short} of {score.episodes} games were cut before their end, so the score is of "
            "parts of games"
        )
    ours = Sample(score.mean, score.std, score.episodes)
    if champion is None:
        rival, theirs, margin = "random play", Sample(score.random_mean, score.random_std, score.random_episodes), 0.0
    else:
        rival, theirs = "the champion", Sample(champion.mean, champion.std, champion.episodes)
    found = compare(ours, theirs, challenge=challenge)
    promoted = bool(found.exceeds(margin))
    claim = f"better than {rival}" if promoted else f"not shown to be better than {rival}"
    if champion is None:
        claim = f"first champion: {claim}" if promoted else f"no champion: {claim}"
    return promoted, f"{claim}: {_words(found, ours, theirs, challenge, margin)}"


def _words(found: Comparison, ours: Sample, theirs: Sample, challenge: int, margin: float) -> str:
    """Write `difference +3.2, 97.5 % interval [1.1, 5.3] (n 32 and 32, challenge 1); needed: more than 2.1`."""
    gap, reach = float(found.difference), float(found.reach)
    sizes = f"n {ours.n} and {theirs.n}, challenge {challenge}"
    if not np.isfinite(reach):
        return f"difference {gap:+.4g}, too few episodes to tell ({sizes})"
    if ours.std == theirs.std == 0.0:
        return f"difference {gap:+.4g}, all episodes of each had the same return ({sizes})"
    rest = float(f"{100 * (1 - float(found.confidence)):.2g}")  # two significant digits, however small it is
    interval = f"{100 - rest:.10g} % interval [{gap - reach:.4g}, {gap + reach:.4g}]"
    over = f" (margin {margin:g})" if margin else ""
    return f"difference {gap:+.4g}, {interval} ({sizes}); needed: more than {reach + margin:.4g}{over}"
