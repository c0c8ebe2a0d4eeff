"""Tables of docs/benchmarks.md: what a suite of `experiments/` scored so far, beside published agents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from results import NOT_RUN, difference_of, minutes

from meme57.config import load_parameters
from meme57.config.members import CONFIGURED
from meme57.config.parameters import Parameters
from meme57.evaluation.beside_published import beside_published
from meme57.evaluation.reference import reference_score
from meme57.evaluation.suite_scores import REFERENCE_AGENT, by_game
from meme57.hooks.configuration import ProjectConfigLoader
from meme57.settings import CONFIG_LOADER_ARGS

Row = Mapping[str, Any]
OVER_GAMES = {
    "iqm": "IQM of human-normalised",
    "median": "median of human-normalised",
    "mean": "mean of human-normalised",
    "estimated_median": "estimated median over 57 games",
}


def suite_table(conf: Path, name: str, scores: Sequence[Row]) -> str:
    """Tabulate the teacher's score of every game seed by seed; name what has not run.

    Aggregates over the games follow from each game's mean over seeds. There are none until every game has one.

    Args:
        conf: the project's `conf`; the environment `name` has the suite's games, seeds and published agents.
        name: of the suite and its environment.
        scores: its finished rows, as `benchmarks/evidence.py` writes them.
    """
    suite = load_parameters(ProjectConfigLoader(str(conf), env=name, **CONFIG_LOADER_ARGS))
    return table(suite, scores)


def table(parameters: Parameters, scores: Sequence[Row]) -> str:
    """Tabulate the rows of a suite with these parameters."""
    suite, confidence = parameters.suite, parameters.evaluate.confidence
    if len(commits := sorted({row["commit"] for row in scores})) > 1:
        raise SystemExit(f"rows of one suite are of several commits: {', '.join(commits)}")
    rows = [
        {**row, "return": float(row["return"]), "human_normalised": float(row["human_normalised"])} for row in scores
    ]
    beside = beside_published(rows, suite.game_names, CONFIGURED, suite.compare, confidence=confidence)
    assert beside is not None, f"{suite.name} compares with nobody"
    teacher, random = ([row for row in rows if row["agent"] == agent] for agent in (REFERENCE_AGENT, "random"))
    agents = [facts["name"] for facts in beside["agents"].values()]
    heads = ["game", "random", "human", "ours, seed by seed", "ours, mean", *agents, "minutes of learning"]
    lines = [f"| {' | '.join(heads)} |", f"|---|---:|---:|---|{'---:|' * (len(agents) + 2)}"]
    randoms = by_game(random, "return")
    for game in suite.game_names:
        seeds = [f"{row['return']:,.1f}" for row in teacher if row["game"] == game]
        cells = [
            game,
            f"{fmean(randoms[game]):,.1f}" if game in randoms else "-",
            f"{reference_score(game).human:,.1f}",
            ", ".join(seeds) or "not run",
            *(_mean(column["games"].get(game)) for column in beside["columns"].values()),
            minutes([row for row in teacher if row["game"] == game]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    for statistic, called in OVER_GAMES.items():
        values = [(column["over_games"] or {}).get(statistic) for column in beside["columns"].values()]
        if any(value is not None for value in values):
            shares = ["-" if value is None else f"{100 * value:.1f} %" for value in values]
            lines.append(f"| *{called}* | | | | {' | '.join(shares)} | |")
    return "\n".join([*lines, "", _what_is_missing(suite.game_names, suite.seeds, teacher), ""])


def _mean(cell: Mapping[str, Any] | None) -> str:
    return "-" if cell is None else f"{cell['mean']:,.1f}"


def _what_is_missing(games: Sequence[str], seeds: Sequence[int], done: Sequence[Row]) -> str:
    """Say in a sentence which runs of the suite are not there."""
    there = {(row["game"], int(row["seed"])) for row in done}
    missing = {seed: [game for game in games if (game, seed) not in there] for seed in seeds}
    parts = [
        f"seed {seed} ({'every game' if len(left) == len(games) else ', '.join(left)})"
        for seed, left in missing.items()
        if left
    ]
    commit = f"Commit {done[0]['commit']}. " if done else ""
    return commit + (f"Not run: {'; '.join(parts)}." if parts else "All of it has run.")


def side_by_side(then: Sequence[Row], now: Sequence[Row]) -> str:
    """Tabulate the greedy scores of an earlier and a later agent; with two seeds each, Welch's interval."""
    lines = ["| game | the agent before | of the table above | difference (95 %) |", "|---|---|---|---:|"]
    before, today = (by_game(_teacher(rows), "return") for rows in (then, now))
    for game, scores in today.items():
        theirs = before.get(game, [])
        cells = [game, *(", ".join(f"{value:,.1f}" for value in values) or "-" for values in (theirs, scores))]
        lines.append(f"| {' | '.join(cells)} | {difference_of(scores, theirs) if theirs else '-'} |")
    return "\n".join([*lines, ""]) if today else f"{NOT_RUN}\n"


def _teacher(scores: Sequence[Row]) -> list[dict[str, Any]]:
    return [{**row, "return": float(row["return"])} for row in scores if row["agent"] == REFERENCE_AGENT]
