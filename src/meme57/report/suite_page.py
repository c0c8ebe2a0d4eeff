"""The page of a suite: scores over games and seeds, every game, and the members that failed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from meme57.config.tree import without
from meme57.evaluation.beside_published import OURS
from meme57.evaluation.published import ATARI5
from meme57.evaluation.suite_scores import REFERENCE_AGENT, Row, by_game, complete_games
from meme57.report.rendering import ABSENT, render_page
from meme57.report.style import agent_label
from meme57.report.suite_figures import table_rows

if TYPE_CHECKING:
    import pandas as pd

AGENT_NAMES = {
    "random": "random play",
    "teacher": "policy 0, exploiting",
    "bandit_policy": agent_label("bandit_policy"),
    "student": "student",
}
STATISTIC_NAMES = {
    "median": "Median",
    "iqm": "IQM",
    "mean": "Mean",
    "capped_mean": "Mean, capped at human",
    "optimality_gap": "Optimality gap",
    "record_mean": "Mean, record-normalised",
}
OVER_GAMES = {
    "iqm": "IQM of the games",
    "median": "Median of the games",
    "mean": "Mean of the games",
    "estimated_median": "Estimated median over 57 games",
}
CAPTIONS = {
    "games": (
        "What you see: policy 0 of every run. Bars are means over seeds, points are single runs, and the dashed line "
        "is the published human score. The axis is linear around 0 and logarithmic beyond 10 %."
    ),
    "profile": (
        "What you see: the share of runs that score above each value, averaged within each game, then over games. Its "
        "pointwise interval is over runs; it needs two or more runs of every game. Higher is better."
    ),
    "curves": (
        "What you see: the mean undiscounted return of training episodes of all policies, averaged over n seeds. With "
        "2 or more seeds there is Student's interval of that mean over seeds."
    ),
}


def suite_page(
    record: Mapping[str, Any], scores: Mapping[str, Any], results: pd.DataFrame, figures: Mapping[str, Any]
) -> str:
    """Build one HTML page, which needs no server or network; it links to the members' pages beside it."""
    rows, members = table_rows(results), record["members"]
    by_run = {row["run"]: row for row in rows if row["agent"] == REFERENCE_AGENT}
    return render_page(
        "suite.html",
        {name: figure for name, figure in figures.items() if figure.data},
        CAPTIONS,
        record=record,
        scores=scores,
        num_done=sum(member["state"] == "done" for member in members),
        protocols=", ".join(dict.fromkeys(str(row["protocol"]) for row in rows)) or ABSENT,
        failed=[(member["name"], member["error"]) for member in members if member["state"] == "failed"],
        aggregates=[
            (variant, agent, found)
            for variant, agents in scores["aggregates"].items()
            for agent, found in agents.items()
            if found["statistics"]
        ],
        incomplete={
            variant: agents[REFERENCE_AGENT]["missing"]
            for variant, agents in scores["aggregates"].items()
            if agents.get(REFERENCE_AGENT, {}).get("missing")
        },
        games=list(_game_rows(rows, scores["games"])),
        members=[(member, by_run.get(member["name"])) for member in members],
        published=(published := scores.get("published")),
        published_names=[] if published is None else _published_names(published),
        over_games=OVER_GAMES if ATARI5.keys() <= set(record["games"]) else without(OVER_GAMES, ("estimated_median",)),
        reference_agent=REFERENCE_AGENT,
        agent_names=AGENT_NAMES,
        statistic_names=STATISTIC_NAMES,
    )


def _published_names(published: Mapping[str, Any]) -> list[str]:
    return [OURS, *(agent["name"] for agent in published["agents"].values())]


def _game_rows(rows: Sequence[Row], games: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield each game's mean over seeds, by variant and agent."""
    variants = dict.fromkeys(row["variant"] for row in rows)
    for game, variant, agent in product(games, variants, AGENT_NAMES):
        mine = [row for row in rows if (row["game"], row["variant"], row["agent"]) == (game, variant, agent)]
        if mine:
            returns, human = by_game(mine, "return")[game], complete_games(mine).get(game)
            yield {
                "game": game,
                "variant": variant,
                "agent": agent,
                "seeds": len(mine),
                "mean": np.mean(returns),
                "low": min(returns),
                "high": max(returns),
                "human": None if human is None else np.mean(human),
            }
