"""A suite's scores beside those of published agents, game by game."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from meme57.evaluation.aggregates import aggregate
from meme57.evaluation.published import PublishedAgent, estimated_median, published_agent
from meme57.evaluation.reference import has_reference
from meme57.evaluation.statistics import human_normalised
from meme57.evaluation.suite_scores import REFERENCE_AGENT, Row, by_game, complete_games
from meme57.intervals import Interval, mean_of

OURS = "ours"


def beside_published(
    rows: Sequence[Row], games: Sequence[str], variant: str, agents: Sequence[str], *, confidence: float
) -> dict[str, Any] | None:
    """Collect policy 0's mean over seeds on each game, those of published agents, and what they come to over the games.

    An agent has no aggregate if it lacks one of the games; ours has none while a game has no finished run.

    Args:
        rows: of `result_rows`.
        games: all games of the suite, finished or not.
        variant: the one that is compared.
        agents: keys of `published_agents()`; None is returned without any.
        confidence: of the intervals over runs.
    """
    if not agents:
        return None
    mine = [row for row in rows if (row["variant"], row["agent"]) == (variant, REFERENCE_AGENT)]
    returns, human = by_game(mine, "return"), complete_games(mine)
    published = [published_agent(key) for key in agents]
    cells = {
        game: _cell(np.mean(runs), len(runs), mean_of(runs).interval(confidence)) for game, runs in returns.items()
    }
    return {
        "variant": variant,
        "missing": [game for game in games if game not in returns],
        "columns": {
            OURS: {
                "games": cells,
                "over_games": _over_games({game: float(np.mean(runs)) for game, runs in human.items()}, games),
            },
            **{agent.key: _column(agent, games, confidence) for agent in published},
        },
        "agents": {agent.key: _facts(agent) for agent in published},
    }


def _column(agent: PublishedAgent, games: Sequence[str], confidence: float) -> dict[str, Any]:
    found = {game: agent.scores[game] for game in games if game in agent.scores}
    human = {game: human_normalised(score.mean, game) for game, score in found.items() if has_reference(game)}
    return {
        "games": {game: _cell(score.mean, score.runs, score.interval(confidence)) for game, score in found.items()},
        "over_games": _over_games(human, games),
    }


def _cell(mean: Any, runs: int | None, interval: Interval | None) -> dict[str, Any]:
    return {"mean": float(mean), "runs": runs, "interval": None if interval is None else list(interval)}


def _over_games(human: Mapping[str, float], games: Sequence[str]) -> dict[str, float | None] | None:
    """Aggregate the games' human-normalised means, all that is known of every agent; None if one is missing."""
    if not all(game in human for game in games):
        return None
    found = aggregate({game: [human[game]] for game in games})
    return {**{name: found[name] for name in ("iqm", "median", "mean")}, "estimated_median": estimated_median(human)}


def _facts(agent: PublishedAgent) -> dict[str, Any]:
    names = ("name", "frames", "sticky", "measure", "source", "note")
    return {name: getattr(agent, name) for name in names}
