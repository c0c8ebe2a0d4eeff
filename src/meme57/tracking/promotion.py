"""When a challenger becomes champion: a pure rule on stored facts.

The rule tests the difference of two means, and spends one error on all challenges of one champion together: the k-th
challenge may be wrong with probability `ERROR` / (k (k + 1)), and these sum to `ERROR` however many follow. So equal
policies replace a champion with probability `ERROR` at most, whatever the challenges share (they all face the same
episodes of the champion). How often it errs and what it finds: docs/registry.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

import numpy as np
from numpy.typing import NDArray

from meme57.intervals import ROUNDING, Array, difference, from_summary

PREFIX = "meme57.score."
ERROR = 0.025
"""Of replacing a champion by policies that are no better, all its challengers together [ours]."""


@dataclass(frozen=True)
class PolicyScore:
    """What an evaluation found: raw game score, its interval, and how it was measured."""

    mean: float
    std: float
    """Of the episodes' returns, ddof 0, as in `scores.json`."""
    low: float
    high: float
    episodes: int
    protocol: str
    """Names the evaluation protocol; scores under different ones are not compared."""
    random_mean: float
    """Of random play in the same game, as are the next two."""
    random_std: float
    random_episodes: int


def score_tags(score: PolicyScore) -> dict[str, str]:
    """The score as tags of a model version."""
    return {f"{PREFIX}{key}": str(value) for key, value in asdict(score).items()}


def score_from_tags(tags: Mapping[str, str]) -> PolicyScore | None:
    """The score of a model version; None where a version was made without it, or by a release that kept no `std`."""
    readers = {"episodes": int, "random_episodes": int, "protocol": str}
    try:
        return PolicyScore(
            **{field.name: readers.get(field.name, float)(tags[PREFIX + field.name]) for field in fields(PolicyScore)}
        )
    except (KeyError, ValueError):
        return None


@dataclass(frozen=True)
class Sample:
    """Episodes of one policy: mean, standard deviation (ddof 0) and number. Numbers, or arrays of one shape [...]."""

    mean: float | Array
    std: float | Array
    n: float | Array


@dataclass(frozen=True)
class Comparison:
    """A challenger against what it must beat [...]."""

    difference: Array
    reach: Array
    """Half the width of its interval; infinite where there are too few episodes to tell."""
    confidence: Array
    """Of that interval: one end or the other is wrong with 1 - confidence, half of it each."""

    def exceeds(self, margin: float) -> NDArray[np.bool_]:
        """Whether the interval lies above `margin` [...]."""
        above: NDArray[np.bool_] = self.difference - self.reach > margin
        return above


def compare(challenger: Sample, rival: Sample, *, challenge: int) -> Comparison:
    """The difference of the means, with the confidence that the `challenge`-th challenge of one rival calls for.

    Welch's interval, in which the larger sample counts as large as the smaller one: means of equal samples are skewed
    alike, so that skewed returns do not raise the error; those of unequal ones are not [ours]. Where neither policy's
    return ever varies, the chance that equal policies split so is 1 to the number of ways to deal the episodes.
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
    """Whether the challenger is better than the champion by `margin`; the first one must be better than random play.

    Args:
        champion: None where there is none.
        challenge: counts the challenges of this champion (or of random play), from 1 on.

    Returns:
        The decision, and the reason in words.
    """
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
    """`difference +3.2, 97.5 % interval [1.1, 5.3] (n 32 and 32, challenge 1); needed: more than 2.1`."""
    gap, reach = float(found.difference), float(found.reach)
    told = f"n {ours.n} and {theirs.n}, challenge {challenge}"
    if not np.isfinite(reach):
        return f"difference {gap:+.4g}, too few episodes to tell ({told})"
    if ours.std == theirs.std == 0.0:
        return f"difference {gap:+.4g}, all episodes of each had the same return ({told})"
    rest = float(f"{100 * (1 - float(found.confidence)):.2g}")  # two digits of it, however small
    interval = f"{100 - rest:.10g} % interval [{gap - reach:.4g}, {gap + reach:.4g}]"
    over = f" (margin {margin:g})" if margin else ""
    return f"difference {gap:+.4g}, {interval} ({told}); needed: more than {reach + margin:.4g}{over}"
