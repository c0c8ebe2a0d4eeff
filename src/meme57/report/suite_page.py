"""The page of a suite: the scores over games and seeds, every game, and which members failed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from meme57.evaluation.suite_scores import REFERENCE_AGENT, Row, by_game
from meme57.report.page import ABSENT, plot_section, render_page
from meme57.report.suite_figures import table_rows
from meme57.report.summary import bracketed

if TYPE_CHECKING:
    import pandas as pd

AGENT_NAMES = {
    "random": "random play",
    "teacher": "policy 0, exploiting",
    "favourite": "the bandit's favourite",
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
CAPTIONS = {
    "games": (
        "What you see: policy 0 of every run. Bars are means over seeds, points single runs, the dashed line is the "
        "published human score; the axis is linear around 0 and logarithmic beyond 10 %."
    ),
    "profile": (
        "What you see: the share of runs (averaged within each game, then over games) that score above each value, "
        "with its pointwise interval over runs where every game has two or more. Higher is better."
    ),
    "curves": (
        "What you see: the mean undiscounted return of training episodes, exploring policies included, averaged over "
        "n seeds, with Student's interval of that mean over seeds where n is 2 or more."
    ),
}


def suite_page(
    record: Mapping[str, Any], scores: Mapping[str, Any], results: pd.DataFrame, figures: Mapping[str, Any]
) -> str:
    """One HTML page, without server or network; it links to the pages of the members beside it."""
    rows = table_rows(results)
    plain = {name: json.loads(figure.to_json()) for name, figure in figures.items() if figure.data}
    sections = [
        _header(record, scores, rows),
        _failures(record["members"]),
        _aggregate_section(scores),
        _comparison_section(scores),
        *(plot_section(name, plain[name], CAPTIONS[name]) for name in plain),
        _game_section(rows, scores),
        _member_section(record["members"], rows),
    ]
    return render_page(f"Suite {record['suite']}", sections, plain)


def _header(record: Mapping[str, Any], scores: Mapping[str, Any], rows: Sequence[Row]) -> str:
    done = sum(member["state"] == "done" for member in record["members"])
    protocols = ", ".join(dict.fromkeys(str(row["protocol"]) for row in rows)) or ABSENT
    names = "; ".join(scores["protocols"])
    lines = [
        f"{_count(len(record['games']), 'game')}, {_count(len(record['seeds']), 'seed')}, "
        f"{_count(len(record['variants']), 'variant')}: "
        f"{done} of {len(record['members'])} runs done.",
        f"Protocol {protocols} ({names}).",
    ]
    text = "<br>".join(escape(line) for line in lines)
    return (
        f'<header><h1>Suite {escape(record["suite"])}</h1><p class="lead">{text}</p>'
        f'<div class="tiles">{"".join(_tiles(scores))}</div></header>'
    )


def _tiles(scores: Mapping[str, Any]) -> Iterable[str]:
    for variant, agents in scores["aggregates"].items():
        statistics = agents.get(REFERENCE_AGENT, {}).get("statistics")
        if statistics:
            found = agents[REFERENCE_AGENT]
            yield (
                f'<div class="tile"><span>{escape(variant)}: IQM</span><b>{_percent(statistics["iqm"]["value"])}</b>'
                f"<span>human-normalised; {found['above_human']} of {found['games']} games above human</span></div>"
            )


def _failures(members: Sequence[Mapping[str, Any]]) -> str:
    failed = [member for member in members if member["state"] == "failed"]
    if not failed:
        return ""
    items = "".join(f"<dt>{escape(member['name'])}</dt><dd>{escape(str(member['error']))}</dd>" for member in failed)
    return f"<section><h2>{_count(len(failed), 'member')} failed</h2><dl>{items}</dl></section>"


def _aggregate_section(scores: Mapping[str, Any]) -> str:
    lines = [
        _line((variant, AGENT_NAMES.get(agent, agent)), found["statistics"], found)
        for variant, agents in scores["aggregates"].items()
        for agent, found in agents.items()
        if found["statistics"]
    ]
    if not lines:
        return (
            "<section><h2>Over games and seeds</h2><p>No game of this suite has published random and human scores, so "
            "there is nothing to average: returns stand as they are below.</p></section>"
        )
    heads = ["Variant and agent", *STATISTIC_NAMES.values(), "Above human"]
    return f"<section><h2>Over games and seeds</h2>{_table(heads, lines)}<p class='note'>{_notes(scores)}</p></section>"


def _line(names: tuple[str, str], statistics: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    cells = [_with_interval(statistics.get(name)) for name in STATISTIC_NAMES]
    cells.append(f"{found['above_human']} of {found['games']}")
    return _row(f"{escape(names[1])}<small>{escape(names[0])}, n {_count(found['runs'], 'run')}</small>", cells)


def _notes(scores: Mapping[str, Any]) -> str:
    confidence = f"{100 * scores['confidence']:.10g} %"
    notes = [
        f"In brackets: the {confidence} interval over n runs (seeds) of the same games; a dash where a game has one. "
        "Means and the optimality gap have Student's; median and IQM have the bootstrap's standard error, and with two "
        "or three seeds of few games they hold the truth less often than they say (docs/evaluation.md).",
        "Median and mean are those of the games' means; IQM and optimality gap (the mean shortfall below human) are "
        "over all runs.",
    ]
    if scores["without_reference"]:
        games = ", ".join(scores["without_reference"])
        notes.append(f"Without published random and human scores, hence not in these numbers: {games}.")
    return escape(" ".join([*notes, *scores["notes"]]))


def _comparison_section(scores: Mapping[str, Any]) -> str:
    if not scores["comparisons"]:
        return ""
    lines = []
    for found in scores["comparisons"]:
        name = f"{found['variant']} over {found['against']}"
        cell = (
            _with_interval({"value": found["probability"], "interval": found["interval"]})
            if "probability" in found
            else escape(found["reason"])
        )
        runs = " and ".join(str(number) for number in found["runs"])
        label = f"{escape(name)}<small>{escape(AGENT_NAMES.get(found['agent'], found['agent']))}, n {runs} runs</small>"
        lines.append(_row(label, [cell, str(found["games"])]))
    return (
        f"<section><h2>Probability of improvement</h2>{_table(['Variant', 'Probability', 'Games'], lines)}"
        "<p class='note'>The chance that a run of the variant scores higher than one of the first variant on the same "
        "game, a tie counting half, averaged over games. An interval that contains 50 % shows no difference. A dash: a "
        "game has one run, or all pairs went one way, which few runs do by chance.</p>"
        "</section>"
    )


def _game_section(rows: Sequence[Row], scores: Mapping[str, Any]) -> str:
    """Each game's mean over seeds, by agent and variant."""
    if not rows:
        return ""
    lines = []
    for game in scores["games"]:
        for variant in dict.fromkeys(row["variant"] for row in rows):
            for agent in AGENT_NAMES:
                chosen = [r for r in rows if (r["game"], r["variant"], r["agent"]) == (game, variant, agent)]
                if chosen:
                    lines.append(_game_row(game, variant, agent, chosen))
    heads = ["Game", "Mean return", "Lowest and highest seed", "Human-normalised"]
    note = "A run's score is the mean return of its evaluation episodes."
    return f"<section><h2>Every game</h2>{_table(heads, lines)}<p class='note'>{note}</p></section>"


def _game_row(game: str, variant: str, agent: str, rows: Sequence[Row]) -> str:
    returns = by_game(rows, "return")[game]
    human = by_game(rows, "human_normalised").get(game)
    label = f"{escape(game)}<small>{escape(AGENT_NAMES[agent])}, {escape(variant)}, {_count(len(rows), 'seed')}</small>"
    score = "no published scores" if human is None else _percent(float(np.mean(human)))
    return _row(label, [_points(float(np.mean(returns))), f"{_points(min(returns))} to {_points(max(returns))}", score])


def _member_section(members: Sequence[Mapping[str, Any]], rows: Sequence[Row]) -> str:
    by_run = {row["run"]: row for row in rows if row["agent"] == REFERENCE_AGENT}
    lines = []
    for member in members:
        row, name = by_run.get(member["name"]), escape(member["name"])
        if row is None:
            lines.append(_row(name, [member["state"], ABSENT, ABSENT]))
            continue
        link = f'<a href="../{name}/report.html">{name}</a>'
        bounds = None if row["return_low"] is None else (row["return_low"], row["return_high"])
        score = f"{_points(row['return'])}<small>{bracketed(bounds, _points)}, n {row['episodes']:.0f} episodes</small>"
        lines.append(_row(link, ["done", f"{row['frames']:,.0f}", score]))
    heads = ["Run", "State", "ALE frames", "Mean return of policy 0"]
    return f"<section><h2>Every run</h2>{_table(heads, lines)}</section>"


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


def _table(heads: Sequence[str], lines: Sequence[str]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def _row(label: str, cells: Iterable[str]) -> str:
    return f"<tr><th>{label}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _with_interval(statistic: Mapping[str, Any] | None) -> str:
    if statistic is None:
        return ABSENT
    return f"{_percent(statistic['value'])}<small>{bracketed(statistic['interval'], _percent)}</small>"


def _percent(fraction: float) -> str:
    value = 100 * fraction
    return f"{value:,.0f} %" if abs(value) >= 1000 else f"{value:.1f} %"


def _points(score: float) -> str:
    return f"{score:,.0f}" if abs(score) >= 1000 else f"{score:.1f}"
