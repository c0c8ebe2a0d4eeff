"""Published scores of other agents, and the median over 57 games that five of them predict.

`published_agents.csv` says of each agent how many frames it learned from, how it was measured, and where the scores are
from. `published_scores.csv` has its mean return on each game, with the standard deviation over runs where it is known.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from meme57.errors import ConfigurationError
from meme57.evaluation.reference import rows_of
from meme57.intervals import Interval, from_summary

ATARI5 = {"BattleZone": 0.382, "DoubleDunk": 0.0679, "NameThisGame": 0.3108, "Phoenix": 0.1241, "Qbert": 0.0805}
"""Weights of the regression of Atari-5 (`estimated_median`)."""


@dataclass(frozen=True)
class PublishedScore:
    """An agent's mean return on a game, in the game's own points."""

    mean: float
    deviation: float | None
    """Standard deviation over runs (n - 1); None where the source has none, or where its licence says to cite means."""
    runs: int | None

    def interval(self, confidence: float) -> Interval | None:
        """Compute Student's interval of the mean over runs; None without the deviation of two or more runs."""
        if self.deviation is None or self.runs is None or self.runs < 2:
            return None
        population = self.deviation * math.sqrt((self.runs - 1) / self.runs)
        return from_summary(self.mean, population, self.runs).interval(confidence)


@dataclass(frozen=True)
class PublishedAgent:
    """An agent after a number of frames, and how its scores were obtained; an empty text is not known."""

    key: str
    name: str
    frames: int | None
    """ALE frames learned from; None for the end of a run whose length the table does not name."""
    sticky: float | None
    """Probability of sticky actions in the measurement; None if it is not known."""
    measure: str
    source: str
    note: str
    scores: Mapping[str, PublishedScore] = field(repr=False)
    """By canonical name of the game."""


def published_agents() -> tuple[str, ...]:
    """List the keys that `published_agent` knows."""
    return tuple(_agents())


def published_agent(key: str) -> PublishedAgent:
    """Look up an agent: `muesli_200M` or `spr_400k`, a name and the frames learned from.

    Raises:
        ConfigurationError: there is no such agent; the message lists the known ones.
    """
    try:
        return _agents()[key]
    except KeyError:
        raise ConfigurationError(
            f"no published scores for the agent {key!r}: choose from {', '.join(published_agents())}."
        ) from None


def published_scores(key: str) -> dict[str, float]:
    """Map each game that the agent was measured on to its published mean score.

    Raises:
        ConfigurationError: there is no such agent; the message lists the known ones.
    """
    return {game: score.mean for game, score in published_agent(key).scores.items()}


def estimated_median(human_normalised: Mapping[str, float]) -> float | None:
    """Estimate the median human-normalised score over the 57 games from the five of Atari-5, as a fraction.

        log10(1 + median) = sum_g weight_g log10(1 + max(0, HNS_g)),   both in percent

    None if one of the five is missing. The regression's error is a tenth of the median (ten-fold cross-validation).

    Source: Aitchison et al., 2022 (arXiv 2210.02019); weights refitted by least squares to the scores of 44 algorithms
    in maitchison/Atari-5@118cad5 (MIT).
    """
    if not ATARI5.keys() <= human_normalised.keys():
        return None
    logs = (weight * math.log10(1.0 + max(0.0, 100.0 * human_normalised[game])) for game, weight in ATARI5.items())
    return (10.0 ** sum(logs) - 1.0) / 100.0


@functools.cache
def _agents() -> dict[str, PublishedAgent]:
    scores: dict[str, dict[str, PublishedScore]] = {}
    for row in rows_of("published_scores.csv"):
        deviation, runs = float(row["deviation"] or "nan"), int(row["runs"] or 0)
        scores.setdefault(row["agent"], {})[row["game"]] = PublishedScore(
            float(row["mean"]), None if math.isnan(deviation) else deviation, runs or None
        )
    return {
        row["agent"]: PublishedAgent(
            key=row["agent"],
            name=row["name"],
            frames=int(row["frames"]) if row["frames"] else None,
            sticky=float(row["sticky"]) if row["sticky"] else None,
            measure=row["measure"],
            source=row["source"],
            note=row["note"],
            scores=scores[row["agent"]],
        )
        for row in rows_of("published_agents.csv")
    }
