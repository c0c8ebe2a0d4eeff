"""The table and the plot of `benchmarks/peers`: score against the clock, every agent on the same core."""

from __future__ import annotations

import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from results import COLOURS, NOT_RUN, Row, in_order, svg

from meme57.evaluation.reference import reference_score

NAMES = {"meme57": "meme57", "ppo": "PPO", "qrdqn": "QR-DQN", "pqn": "PQN, LSTM"}
PLAN = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "peers" / "all.py"))
"""The games and seeds that were fixed before the first run."""
MARKS = (10, 20, 30)
"""Minutes of learning at which scores are shown."""
SLACK_SECONDS = 30
"""A score that was due at a mark comes a little after it."""


def table(rows: Sequence[Row]) -> str:
    """Tabulate each agent's greedy score at the marks, seed by seed, and when it first was at a human's."""
    if not rows:
        return f"{NOT_RUN}\n"
    heads = ["game", "agent", *(f"{mark} minutes" for mark in MARKS), "frames", "CPU minutes", "human level after"]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for game, agent in in_order((row["game"], row["agent"]) for row in rows):
        seeds = [
            [row for row in rows if (row["game"], row["agent"], row["seed"]) == (game, agent, seed)]
            for seed in in_order(row["seed"] for row in rows if (row["game"], row["agent"]) == (game, agent))
        ]
        cells = [
            game, NAMES[agent],
            *(", ".join(_score_at(run, mark) for run in seeds) for mark in MARKS),
            ", ".join(f"{int(run[-1]['frames']) / 1e6:.1f} M" for run in seeds),
            ", ".join(f"{int(run[-1]['cpu_seconds']) / 60:.0f}" for run in seeds),
            ", ".join(_human_after(run, game) for run in seeds),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", _missing(rows), ""])


def _missing(rows: Sequence[Row]) -> str:
    """Name the runs that were fixed beforehand and are not there."""
    done = {(row["game"], row["agent"], int(row["seed"])) for row in rows}
    begun, parts = {game for game, *_ in done}, []
    for game in PLAN["GAMES"]:
        absent = [
            f"{NAMES[agent]}, seed {seed}"
            for seed in PLAN["SEEDS"]
            for agent in NAMES
            if (game, agent, seed) not in done
        ]
        if absent:
            parts.append(f"{game} ({'; '.join(absent) if game in begun else 'every run'})")
    return f"Not run: {', '.join(parts)}." if parts else ""


def _score_at(run: Sequence[Row], minutes: int) -> str:
    known = [row for row in run if int(row["seconds"]) <= 60 * minutes + SLACK_SECONDS]
    return f"{float(known[-1]['mean']):,.1f}" if known else "-"


def _human_after(run: Sequence[Row], game: str) -> str:
    """Say at which score the agent first was at a human's, in minutes of learning."""
    human = reference_score(game).human
    first = next((row for row in run if float(row["mean"]) >= human), None)
    return "never" if first is None else f"{int(first['seconds']) / 60:.0f} min"


def plot(rows: Sequence[Row]) -> str:
    """Draw a panel a game: greedy score against minutes of learning, a line a run, with human and random play."""
    games = in_order(row["game"] for row in rows)
    figure = Figure(figsize=(3.4 * len(games), 2.8), layout="constrained")
    panels: Any = figure.subplots(1, len(games), squeeze=False)[0]
    for panel, game in zip(panels, games, strict=True):
        for number, agent in enumerate(NAMES):
            mine = [row for row in rows if (row["game"], row["agent"]) == (game, agent)]
            for seed in in_order(row["seed"] for row in mine):
                run = [row for row in mine if row["seed"] == seed]
                minutes = [int(row["seconds"]) / 60 for row in run]
                label = NAMES[agent] if seed == mine[0]["seed"] else None
                panel.plot(
                    minutes, [float(row["mean"]) for row in run], color=COLOURS[number], linewidth=1.2, label=label
                )
        for score in (reference_score(game).human, reference_score(game).random):
            panel.axhline(score, color="grey", linestyle="--", linewidth=0.8)
        panel.set_title(game)
        panel.set_xlabel("minutes of learning, one core")
    panels[0].set_ylabel("greedy return")
    panels[0].legend(fontsize=7)
    return svg(figure)
