"""The results of a suite's members: a table, and scores over games and seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from meme57.evaluation import aggregates
from meme57.evaluation.protocols import protocol_label
from meme57.evaluation.reference import has_reference, reference_score
from meme57.evaluation.statistics import capped_human_normalised, human_normalised, record_normalised
from meme57.intervals import Interval

Row = dict[str, Any]
COLUMNS = (
    "run",
    "game",
    "variant",
    "seed",
    "agent",
    "protocol",
    "protocol_name",
    "frames",
    "episodes",
    "return",
    "return_low",
    "return_high",
    "human_normalised",
    "record_normalised",
)
"""Columns of the table of results; normalised scores are fractions, empty without published scores."""

VIDEO_PINBALL = "VideoPinball"
PINBALL_NOTE = (
    "Video Pinball's random score is 0.0 here, as in the published Agent57 aggregates; other tables print 16256.9, "
    "which makes its human-normalised score up to 12.5 times larger."
)
REFERENCE_AGENT = "teacher"


def result_rows(members: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Make a row for each member that is done and each of its agents."""
    return [
        _row(member, agent, summary)
        for member in members
        if member["state"] == "done"
        for agent, summary in member["scores"]["agents"].items()
    ]


def _row(member: Mapping[str, Any], agent: str, summary: Mapping[str, Any]) -> Row:
    scores, game = member["scores"], member["game"]
    protocol, (low, high) = scores["protocol"], summary["interval"] or (None, None)
    known = has_reference(game) and not summary.get("cut_short")
    has_record = known and reference_score(game).record is not None
    return {
        "run": member["name"],
        "game": game,
        "variant": member["variant"],
        "seed": member["seed"],
        "agent": agent,
        "protocol": protocol_label(protocol["protocol"], protocol["departures"]),
        "protocol_name": protocol["name"],
        "frames": scores["frames"],
        "episodes": summary["episodes"],
        "return": summary["mean"],
        "return_low": low,
        "return_high": high,
        "human_normalised": human_normalised(summary["mean"], game) if known else None,
        "record_normalised": record_normalised(summary["mean"], game) if has_record else None,
    }


def suite_scores(
    rows: Sequence[Row],
    variants: Sequence[str],
    all_games: Sequence[str],
    *,
    confidence: float,
    repetitions: int,
    seed: int,
) -> dict[str, Any]:
    """Aggregate the scores of each variant and agent, and compare each variant with the first.

    A run's score is the mean return of its evaluation episodes. Intervals are over runs (seeds), so there are none if a
    game has one run. Normalised aggregates skip games without published scores; there are none while any other of
    `all_games`, those of the suite, has no normalised score. The comparison of variants includes the games that both
    have, since it ranks runs within a game.
    """
    settings = {"repetitions": repetitions, "confidence": confidence, "seed": seed}
    agents = list(dict.fromkeys(row["agent"] for row in rows))
    games = list(dict.fromkeys(row["game"] for row in rows))
    normalised = [game for game in all_games if has_reference(game)]
    return {
        "confidence": confidence,
        "games": games,
        "without_reference": [game for game in games if not has_reference(game)],
        "protocols": sorted({row["protocol_name"] for row in rows}),
        "notes": _notes(rows, games),
        "aggregates": {
            variant: {agent: _aggregates(_chosen(rows, variant, agent), normalised, settings) for agent in agents}
            for variant in variants
        },
        "comparisons": [
            comparison
            for agent in agents
            if agent != "random"
            for variant in variants[1:]
            if (comparison := _comparison(rows, variant, variants[0], agent, settings)) is not None
        ],
    }


def _notes(rows: Sequence[Row], games: Sequence[str]) -> list[str]:
    notes = [PINBALL_NOTE] if VIDEO_PINBALL in games else []
    cut = {row["game"] for row in rows if row["human_normalised"] is None and has_reference(row["game"])}
    if cut:
        names = ", ".join(game for game in games if game in cut)
        notes.append(f"{names}: games were cut before their end, so these returns have no human-normalised score.")
    return notes


def by_game(rows: Iterable[Row], column: str) -> dict[str, list[float]]:
    """Map each game to the column's values; runs without a value are left out."""
    found: dict[str, list[float]] = {}
    for row in rows:
        if row[column] is not None and np.isfinite(row[column]):
            found.setdefault(row["game"], []).append(float(row[column]))
    return found


def complete_games(rows: Iterable[Row]) -> dict[str, list[float]]:
    """Map each game to the human-normalised scores of its runs, if all of them have one.

    Where games were cut, the runs that have one are those that happened to be short; they do not stand for the others.
    """
    rows = list(rows)
    partial = {row["game"] for row in rows if row["human_normalised"] is None}
    return {game: scores for game, scores in by_game(rows, "human_normalised").items() if game not in partial}


def _chosen(rows: Iterable[Row], variant: str, agent: str) -> list[Row]:
    return [row for row in rows if (row["variant"], row["agent"]) == (variant, agent)]


def _aggregates(rows: Sequence[Row], games: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Count runs and games, and compute the statistics, `{name: {value, interval}}`; none if a game is missing."""
    human = complete_games(rows)
    missing = [game for game in games if game not in human]
    found: dict[str, dict[str, Any]] = {}
    if human and not missing:
        values, intervals = aggregates.aggregate(human), aggregates.aggregate_intervals(human, **settings)
        found = {name: _statistic(values[name], intervals[name]) for name in values}
        capped = {game: capped_human_normalised(_returns(rows, game), game) for game in human}
        found["capped_mean"] = _mean_of_games(capped, settings)
        record = by_game(rows, "record_normalised")
        if record := {game: scores for game, scores in record.items() if game in human}:
            found["record_mean"] = _mean_of_games(record, settings)
    above = sum(float(np.mean(scores)) > 1.0 for scores in human.values())
    return {
        "runs": len(rows), "games": len(human), "missing": missing, "above_human": above, "statistics": found,
    }  # fmt: skip


def _mean_of_games(scores: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    mean = float(np.mean([np.mean(runs) for runs in scores.values()]))
    return _statistic(mean, aggregates.mean_interval(scores, confidence=settings["confidence"]))


def _statistic(value: float, interval: Interval | None) -> dict[str, Any]:
    return {"value": value, "interval": None if interval is None else list(interval)}


def _returns(rows: Iterable[Row], game: str) -> list[float]:
    return [row["return"] for row in rows if row["game"] == game]


def _comparison(
    rows: Sequence[Row], variant: str, first: str, agent: str, settings: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Compute P(variant beats the first); None if they share no game, a reason if their protocols differ."""
    ours, theirs = _chosen(rows, variant, agent), _chosen(rows, first, agent)
    shared = set(by_game(ours, "return")) & set(by_game(theirs, "return"))
    if not shared:
        return None
    x, y = by_game(ours, "return"), by_game(theirs, "return")
    runs = [sum(len(found[game]) for game in shared) for found in (x, y)]
    compared = {"variant": variant, "against": first, "agent": agent, "games": len(shared), "runs": runs}
    if len({row["protocol_name"] for row in ours + theirs}) > 1:
        return {**compared, "reason": "their protocols differ: set evaluate.protocol to a published one"}
    found = _statistic(aggregates.probability_of_improvement(x, y), aggregates.improvement_interval(x, y, **settings))
    return {**compared, "probability": found["value"], "interval": found["interval"]}
