"""Tables and plots of docs/results.md and docs/notebook.md, from rows of measurements.

A table without data says so.
"""

from __future__ import annotations

import csv
import io
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any, TypeVar

import matplotlib
import numpy as np
from matplotlib import get_data_path
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager

from meme57.config.games import TOY_GAMES
from meme57.config.members import CONFIGURED
from meme57.config.renames import with_todays_agents
from meme57.evaluation.published import published_agent, published_agents
from meme57.evaluation.reference import reference_score
from meme57.intervals import difference, mean_of

Row = dict[str, str]
T = TypeVar("T")
MILLION = 1_000_000
REFERENCE_FRAMES = (1_000_000, 2_000_000, 5_000_000)
"""Frames at which published training means are compared with ours; each is the mean of the last million frames."""
ABLATION_WINDOW = 250_000
CONFIDENCE = 0.95
ABLATION_COLUMNS = 4
NOT_RUN = "Not run yet."
COLOURS = ("#0b6bcb", "#c2410c", "#15803d", "#7e22ce", "#a16207")

matplotlib.use("svg")
matplotlib.rcParams.update(
    {"svg.hashsalt": "meme57", "svg.fonttype": "path", "font.size": 9, "axes.spines.top": False,
     "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25}
)  # fmt: skip
# Machines may have other editions of a font. Only Matplotlib's own is used, so a plot is the same everywhere.
fontManager.ttflist.clear()
for font in sorted(Path(get_data_path(), "fonts", "ttf").glob("*.ttf")):
    fontManager.addfont(font)


def read(path: Path) -> list[Row]:
    """Read the rows of a CSV file; none if there is no file."""
    rows = csv.DictReader(path.read_text(encoding="utf-8").splitlines()) if path.exists() else []
    return [with_todays_agents(row) for row in rows]


# ---- real games


def games_table(curves: Sequence[Row], published: Sequence[Row]) -> str:
    """Compare training returns at equal frames with Dopamine's published ones, seed by seed."""
    lines = [
        "| game | frames | ours, seed by seed | mean | best of Dopamine's | Rainbow | IQN | best of small budgets |",
        "|---|---:|---|---:|---|---:|---:|---|",
    ]
    for game in in_order(row["game"] for row in curves):
        mine = [row for row in curves if row["game"] == game]
        length = {seed: max(int(r["frames"]) for r in mine if r["seed"] == seed) for seed in _seeds(mine)}
        for frames in REFERENCE_FRAMES:
            values = {s: window_mean(mine, s, frames - MILLION, frames) for s in _seeds(mine) if length[s] >= frames}
            if values:
                seeds = ", ".join(f"{value:.1f}" for value in values.values())
                cells = _published_cells(published, game, frames)
                lines.append(
                    f"| {game} | {frames:,} | {seeds} | **{fmean(values.values()):.1f}** | {' | '.join(cells)} |"
                )
    return "\n".join([*lines, ""]) if len(lines) > 2 else f"{NOT_RUN}\n"


def readme_table(scores: Sequence[Row]) -> str:
    """Tabulate the teacher's greedy score seed by seed, a line for each game and protocol, beside random and human."""
    lines = [
        "| game | frames | sticky actions | random play | agent, seed by seed | human | minutes of learning |",
        "|---|---:|---:|---:|---|---:|---|",
    ]
    for game, protocol in in_order((row["game"], _sticky(row)) for row in scores):
        mine = [row for row in scores if (row["game"], _sticky(row)) == (game, protocol)]
        teachers, randoms = ([row for row in mine if row["agent"] == agent] for agent in ("teacher", "random"))
        frames = {round(int(row["trained_frames"]), -5) for row in teachers}
        cells = [
            game, ", ".join(f"{value:,}" for value in sorted(frames)), protocol,
            f"{fmean(float(row['return']) for row in randoms):.1f}",
            ", ".join(f"{float(row['return']):,.1f}" for row in teachers), f"{reference_score(game).human:,.1f}",
            minutes(teachers),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def minutes(rows: Iterable[Row]) -> str:
    """Say how long these runs learned: `20`, or `19 to 22`."""
    found = sorted(round(float(row["trained_seconds"]) / 60) for row in rows if row["trained_seconds"])
    return " to ".join(str(value) for value in dict.fromkeys([*found[:1], *found[-1:]])) or "-"


def _sticky(row: Row) -> str:
    return row["protocol_name"].split("-")[0].removeprefix("sticky")


def greedy_table(scores: Sequence[Row]) -> str:
    """Tabulate the greedy score of each run's best checkpoint on fresh seeds, and the time of learning."""
    heads = ["run", "sticky actions", "frames learned", "minutes of learning", "best checkpoint", "n", "random",
             "greedy policy 0", "bandit's policy", "human-normalised", "commit"]  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    agents: dict[str, dict[str, Row]] = defaultdict(dict)
    for row in scores:
        agents[row["run"]][row["agent"]] = row
    for found in agents.values():
        teacher = found["teacher"]
        variant = "" if teacher["variant"] == CONFIGURED else f", {teacher['variant']}"
        cells = [
            f"{teacher['game']}{variant}, seed {teacher['seed']}",
            _sticky(teacher),
            f"{int(teacher['trained_frames']):,}", f"{float(teacher['trained_seconds']) / 60:.0f}",
            f"{int(teacher['frames']):,}", teacher["episodes"], _points(found.get("random")), _points(teacher),
            _points(found.get("bandit_policy")), f"{100 * float(teacher['human_normalised']):.0f} %", teacher["commit"],
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""]) if agents else f"{NOT_RUN}\n"


def games_plot(curves: Sequence[Row], published: Sequence[Row]) -> str:
    """Draw a row for each game: return against frames, with Dopamine's means as points, and against minutes."""
    games = in_order(row["game"] for row in curves)
    figure = Figure(figsize=(8.0, 2.4 * len(games)), layout="constrained")
    for i, (game, (left, right)) in enumerate(zip(games, figure.subplots(len(games), 2, squeeze=False), strict=True)):
        mine = [row for row in curves if row["game"] == game]
        for seed, colour in zip(_seeds(mine), COLOURS, strict=False):
            own = [row for row in mine if row["seed"] == seed]
            frames, smooth = _smoothed(own, "frames")
            left.plot(frames / MILLION, smooth, color=colour, label=f"seed {seed}")
            seconds, smooth = _smoothed(own, "seconds")
            right.plot(seconds / 60, smooth, color=colour)
        end = max(int(row["frames"]) for row in mine)
        for name, marker in (("Rainbow", "s"), ("IQN", "o"), (None, "^")):
            points = [(f, _best(published, game, f, name)) for f in REFERENCE_FRAMES if f <= end + MILLION]
            found = [(f / MILLION, best["mean_score"]) for f, best in points if best]
            left.plot(
                [f for f, _ in found], [float(v) for _, v in found], marker,
                color="#57534e", fillstyle="none", label=f"Dopamine's {name}" if name else "best of Dopamine's",
            )  # fmt: skip
        left.set_ylabel(game)
        left.set_xlabel("million frames" if i == len(games) - 1 else "")
        right.set_xlabel("minutes" if i == len(games) - 1 else "")
    handles = {h.get_label(): h for axes in figure.axes for h in axes.get_legend_handles_labels()[0]}
    order = sorted(handles, key=lambda label: (not label.startswith("seed"), label))
    figure.legend([handles[label] for label in order], order, loc="outside upper center", ncols=3, frameon=False)
    return svg(figure)


def _published_cells(published: Sequence[Row], game: str, frames: int) -> list[str]:
    best = _best(published, game, frames)
    cells = [f"{float(best['mean_score']):.1f} ({_agent_name(best)})" if best else "-"]
    for name in ("Rainbow", "IQN"):
        row = _best(published, game, frames, name)
        cells.append(f"{float(row['mean_score']):.1f}" if row else "-")
    return [*cells, _best_of_small_budgets(game, frames)]


def _best_of_small_budgets(game: str, frames: int) -> str:
    """Name the best of the agents in `meme57.evaluation.published` at these frames."""
    agents = [agent for agent in map(published_agent, published_agents()) if agent.frames == frames]
    scores = {agent.name: agent.scores[game].mean for agent in agents if game in agent.scores}
    best = max(scores, key=lambda name: scores[name], default=None)
    return "-" if best is None else f"{scores[best]:.1f} ({best})"


def published_table() -> str:
    """Tabulate the agents of `meme57.evaluation.published` by their keys."""
    heads = ("name", "agent", "frames", "sticky actions", "what is averaged", "games", "source")
    lines = [f"| {' | '.join(heads)} |", "|---|---|---:|---:|---|---:|---|"]
    for agent in map(published_agent, published_agents()):
        cells = [
            f"`{agent.key}`", agent.name, f"{agent.frames:,}" if agent.frames else "-",
            "-" if agent.sticky is None else f"{agent.sticky:g}", agent.measure or "-", str(len(agent.scores)),
            "; ".join(filter(None, (agent.source, agent.note))),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _agent_name(row: Row) -> str:
    return f"{row['agent']}, Impala" if row["network"].startswith("Impala") else row["agent"]


def _best(published: Sequence[Row], game: str, frames: int, agent: str | None = None) -> Row | None:
    """Find the best published row at these frames: of all agents, or of one agent with the usual network."""
    rows = [row for row in published if row["game"] == game.lower() and int(row["frames"]) == frames]
    if agent is not None:
        rows = [row for row in rows if row["agent"] == agent and row["network"].startswith("CNN")]
    return max(rows, key=lambda row: float(row["mean_score"]), default=None)


# ---- settings that were tried

_B = "env.height=52; env.width=52; learner.adam_eps=1e-8"
_C = f"{_B}; bandit.enabled=false"
AGENTS = {"D": f"{_C}; network.normalise_heads=true; network.balance_inputs=true", "C": _C, "B": _B, "A": "none"}
"""The agents that docs/notebook.md names by a letter; a line of its tables is one of them and a change."""


def choices_table(rows: Sequence[Row], game: str) -> str:
    """Tabulate the mean training return of each stretch of frames, one line per run."""
    mine = [row for row in rows if row["game"] == game]
    frames = sorted({int(row["frames"]) for row in mine})
    heads = ["changed", "seed", "commit", *(f"{at / MILLION:g} M" for at in frames)]
    lines = [f"| {' | '.join(heads)} |", f"|---|---:|---{'|---:' * len(frames)}|"]
    for run in in_order((row["settings"], row["seed"], row["commit"]) for row in mine):
        own = {int(r["frames"]): r for r in mine if (r["settings"], r["seed"], r["commit"]) == run}
        cells = [f"{float(own[at]['return']):.1f}" if at in own else "" for at in frames]
        settings, seed, commit = run
        lines.append(f"| {' | '.join([_lettered(settings), seed, commit, *cells])} |")
    return "\n".join([*lines, ""])


def _lettered(settings: str) -> str:
    """Abbreviate settings: the longest beginning that is an agent of the notebook becomes its letter."""
    for letter, beginning in AGENTS.items():
        if settings == beginning or settings.startswith(f"{beginning}; "):
            return letter + settings[len(beginning) :]
    return settings


# ---- ablations


def ablations_table(curves: Sequence[Row]) -> str:
    """Tabulate each variant's last returns by seed, its difference from the whole agent (Welch), and its health.

    The trace length and the policy churn are means over the same last frames of all seeds.
    """
    if not curves:
        return f"{NOT_RUN}\n"
    variants = _whole_agent_first(curves)
    found = {variant: _last_returns([row for row in curves if row["variant"] == variant]) for variant in variants}
    heads = ("variant", "last returns, seed by seed", "mean", "against the whole agent (95 %)", "trace, steps", "churn")
    lines = [f"| {' | '.join(heads)} |", "|---|---|---:|---|---:|---:|"]
    for variant in variants:
        values = list(found[variant].values())
        seeds = ", ".join(f"{value:.1f}" for value in values)
        against = "-" if variant == variants[0] else difference_of(values, list(found[variants[0]].values()))
        mine = [row for row in curves if row["variant"] == variant]
        trace, churn = _last_mean(mine, "trace_steps"), _last_mean(mine, "policy_churn")
        lines.append(f"| {variant} | {seeds} | {fmean(values):.1f} | {against} | {trace:.1f} | {100 * churn:.0f} % |")
    return "\n".join([*lines, ""])


def ablations_plot(curves: Sequence[Row]) -> str:
    """Draw a panel for each variant: its seeds' returns against frames, over the whole agent's in grey."""
    whole, *variants = _whole_agent_first(curves)
    rows = math.ceil(max(1, len(variants)) / ABLATION_COLUMNS)
    figure = Figure(figsize=(8.0, 1.0 + 1.4 * rows), layout="constrained")
    panels = list(figure.subplots(rows, ABLATION_COLUMNS, sharex=True, sharey=True, squeeze=False).flat)
    for variant, axes in zip(variants, panels, strict=False):
        axes.set_title(variant.replace("_", " "), fontsize=8)
        for name in (whole, variant):
            mine = [row for row in curves if row["variant"] == name]
            for seed, colour in zip(_seeds(mine), COLOURS, strict=False):
                curve = _smoothed([row for row in mine if row["seed"] == seed], "frames")
                frames, smooth = (
                    values[::2] for values in curve
                )  # makes the file smaller; each point is a mean over five
                axes.plot(frames / MILLION, smooth, color="#a8a29e" if name == whole else colour, linewidth=1.0)
    for axes in panels[len(variants) :]:
        axes.set_visible(False)
    for axes in panels[: len(variants)][-ABLATION_COLUMNS:]:  # the lowest panel of each column
        axes.tick_params(labelbottom=True)
    figure.supxlabel("million frames", fontsize=9)
    figure.supylabel("return", fontsize=9)
    return svg(figure)


def _last_returns(rows: Sequence[Row]) -> dict[str, float]:
    return {seed: window_mean(rows, seed, end - ABLATION_WINDOW, end) for seed, end in _ends(rows).items()}


def _last_mean(rows: Sequence[Row], column: str) -> float:
    ends = _ends(rows)
    late = [row for row in rows if int(row["frames"]) > ends[row["seed"]] - ABLATION_WINDOW]
    return fmean(float(row[column]) for row in late if row[column])


def _ends(rows: Sequence[Row]) -> dict[str, int]:
    return {seed: max(int(row["frames"]) for row in rows if row["seed"] == seed) for seed in _seeds(rows)}


def difference_of(values: Sequence[float], others: Sequence[float]) -> str:
    """Write the difference of two means, with Welch's interval where both have two values."""
    gain = difference(mean_of(values), mean_of(others))
    interval = gain.interval(CONFIDENCE)
    bounds = "" if interval is None else f" [{interval.low:+.1f}, {interval.high:+.1f}]"
    return f"{float(gain.value):+.1f}{bounds}"


# ---- environments of Gymnasium


def learned_table(scores: Sequence[Row], threshold: float) -> str:
    """Tabulate each variant's greedy returns by seed, how many seeds reach the threshold, and their mean (Student)."""
    if not scores:
        return f"{NOT_RUN}\n"
    heads = ["variant", "greedy return of each seed", f"seeds with {threshold:g} or more", "mean (95 %)", "random",
             "minutes a seed", "commit"]  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for variant in in_order(row["variant"] for row in scores):
        mine = [row for row in scores if row["variant"] == variant]
        teachers, random = ([row for row in mine if row["agent"] == agent] for agent in ("teacher", "random"))
        values = [float(row["return"]) for row in teachers]
        minutes = fmean(float(row["trained_seconds"]) for row in teachers) / 60
        cells = [
            variant.replace("_", " "), ", ".join(f"{value:.4g}" for value in values),
            f"{sum(value >= threshold for value in values)} of {len(values)}", _mean_with_interval(values),
            f"{fmean(float(row['return']) for row in random):.3g}", f"{minutes:.0f}",
            ", ".join(in_order(row["commit"] for row in teachers)),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def learned_plot(curves: Sequence[Row], threshold: float) -> str:
    """Draw the greedy returns at the checkpoints: each seed thin, their mean thick, with Student's 95 % interval."""
    figure = Figure(figsize=(8.0, 3.0), layout="constrained")
    axes = figure.subplots()
    for variant, colour in zip(in_order(row["variant"] for row in curves), COLOURS, strict=False):
        mine = [row for row in curves if row["variant"] == variant and row["greedy_return"]]
        by_seed = [[row for row in mine if row["seed"] == seed] for seed in _seeds(mine)]
        points = min(map(len, by_seed))
        at = np.array([float(row["frames"]) for row in by_seed[0][:points]]) / 1_000
        values = np.array([[float(row["greedy_return"]) for row in rows[:points]] for rows in by_seed])
        axes.plot(at, values.T, color=colour, linewidth=0.5, alpha=0.6)
        mean = mean_of(values.T)
        axes.plot(at, mean.value, color=colour, linewidth=2.0, label=variant.replace("_", " "))
        if len(by_seed) > 1:
            reach = mean.reach(CONFIDENCE)
            axes.fill_between(at, mean.value - reach, mean.value + reach, color=colour, alpha=0.15, linewidth=0)
    axes.axhline(threshold, color="#57534e", linewidth=0.8, linestyle="--")
    axes.set_xlabel("thousand steps")
    axes.set_ylabel("greedy return")
    axes.legend(frameon=False)
    return svg(figure)


def _mean_with_interval(values: Sequence[float]) -> str:
    mean = mean_of(values)
    interval = mean.interval(CONFIDENCE)
    bounds = "" if interval is None else f" [{interval.low:.4g}, {interval.high:.4g}]"
    return f"{float(mean.value):.4g}{bounds}"


# ---- exploration


def ladder_table(rows: Sequence[Row], parts: str) -> str:
    """Tabulate what leaving out a part does: solved runs, the median of their frames, and the slowdown.

    The slowdown is a ratio of geometric means, with Welch's interval. An unsolved run counts with the frames that it
    had. So the factor is too low if the variant has unsolved runs, and too high if the whole agent has them.
    """
    runs: dict[tuple[str, str], list[Row]] = defaultdict(list)
    mine = [row for row in rows if row["parts"] == parts or row["variant"] == "full"]
    for row in mine:
        runs[row["variant"], row["game"]].append(row)
    variants = _whole_agent_first(mine)
    games = [game for game in TOY_GAMES if any((variant, game) in runs for variant in variants[1:])]
    if not games:
        return f"{NOT_RUN}\n"
    lines = ["| | " + " | ".join(games) + " |", "|---" * (len(games) + 1) + "|"]
    for variant in variants:
        cells = [_solved(runs[variant, game], runs["full", game]) for game in games]
        lines.append(f"| {variant} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def _solved(runs: Sequence[Row], whole: Sequence[Row]) -> str:
    if not runs:
        return "not run"
    frames = [int(row["frames"]) for row in runs if row["solved"] == "1"]
    solved = f"{len(frames)} of {len(runs)}" + (f" ({median(frames):,.0f})" if frames else "")
    is_compared = runs is not whole and any(row["solved"] == "1" for row in (*runs, *whole))
    return solved + _slower(runs, whole) if is_compared else solved


def _slower(runs: Sequence[Row], whole: Sequence[Row]) -> str:
    """Compute the factor between the frames to a solution."""
    logs, others = ([math.log(int(row["frames"])) for row in some] for some in (runs, whole))
    if min(len(logs), len(others)) < 3:
        return ""
    gain = difference(mean_of(logs), mean_of(others))
    low, middle, high = np.exp(gain.value + np.array([-1, 0, 1]) * gain.reach(CONFIDENCE))
    return f"; x {middle:.2f} [{low:.2f}, {high:.2f}]"


# ---- shared


def window_mean(rows: Iterable[Row], seed: str, low: int, high: int) -> float:
    """Compute the mean return of a seed's episodes that ended in (low, high] frames."""
    mine = [row for row in _ended(rows) if row["seed"] == seed and low < int(row["frames"]) <= high]
    return float(np.average([float(row["return"]) for row in mine], weights=[int(row["episodes"]) for row in mine]))


def _ended(rows: Iterable[Row]) -> list[Row]:
    """Keep the rows in which an episode ended."""
    return [row for row in rows if row["episodes"] != "0"]


def _smoothed(rows: Sequence[Row], axis: str) -> tuple[np.ndarray, np.ndarray]:
    """Compute means over the last five points, weighted by their episodes."""
    at, n, value = (np.array([float(row[name]) for row in _ended(rows)]) for name in (axis, "episodes", "return"))
    kernel = np.ones(5)
    total = np.convolve(n * value, kernel)[: len(n)]
    return at, total / np.convolve(n, kernel)[: len(n)]


def _points(row: Row | None) -> str:
    if row is None:
        return "-"
    mean, low, high = (float(row[name]) for name in ("return", "return_low", "return_high"))
    return f"{mean:,.1f} [{low:,.1f}, {high:,.1f}]"


def _whole_agent_first(rows: Iterable[Row]) -> list[str]:
    return sorted({row["variant"] for row in rows}, key=lambda name: (name != "full", name))


def _seeds(rows: Iterable[Row]) -> list[str]:
    return sorted({row["seed"] for row in rows}, key=int)


def in_order(names: Iterable[T]) -> list[T]:
    """Keep the first of each."""
    return list(dict.fromkeys(names))


def svg(figure: Any) -> str:
    """Write the figure as text that is the same on every machine."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"
