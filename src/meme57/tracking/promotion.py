"""When a challenger becomes champion: a pure rule on stored facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

PREFIX = "meme57.score."


@dataclass(frozen=True)
class PolicyScore:
    """What an evaluation found: raw game score, its bootstrap interval, and how it was measured."""

    mean: float
    low: float
    high: float
    episodes: int
    protocol: str
    """Names the evaluation protocol; scores under different ones are not compared."""
    random_mean: float
    """Score of random play in the same game."""


def score_tags(score: PolicyScore) -> dict[str, str]:
    """The score as tags of a model version."""
    return {f"{PREFIX}{key}": str(value) for key, value in asdict(score).items()}


def score_from_tags(tags: Mapping[str, str]) -> PolicyScore | None:
    """The score of a model version; None where a version was made without it."""
    try:
        return PolicyScore(
            mean=float(tags[f"{PREFIX}mean"]),
            low=float(tags[f"{PREFIX}low"]),
            high=float(tags[f"{PREFIX}high"]),
            episodes=int(tags[f"{PREFIX}episodes"]),
            protocol=tags[f"{PREFIX}protocol"],
            random_mean=float(tags[f"{PREFIX}random_mean"]),
        )
    except (KeyError, ValueError):
        return None


def decide_promotion(
    *, challenger_low: float, champion_mean: float | None, random_mean: float, margin: float
) -> tuple[bool, str]:
    """Whether the challenger's interval clears the champion's mean by `margin`; the first one must clear random play.

    Returns:
        The decision, and the reason in words.
    """
    if champion_mean is None:
        if challenger_low > random_mean:
            return True, f"first champion: interval from {challenger_low:g} clears random play ({random_mean:g})"
        return False, f"no champion: interval from {challenger_low:g} does not clear random play ({random_mean:g})"
    bar = champion_mean + margin
    words = f"{champion_mean:g} + margin {margin:g}" if margin else f"{champion_mean:g}"
    if challenger_low > bar:
        return True, f"interval from {challenger_low:g} clears the champion's mean ({words})"
    return False, f"interval from {challenger_low:g} does not clear the champion's mean ({words})"
