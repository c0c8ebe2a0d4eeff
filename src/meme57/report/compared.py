"""The page of `meme57 plot`: training returns of several runs, one line a run or one line over seeds."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from meme57.config.tree import without
from meme57.evaluation.published import published_scores
from meme57.evaluation.reference import reference_beside
from meme57.intervals import mean_of
from meme57.report.figures import NUM_SMOOTHING_WINDOWS, running_mean
from meme57.report.rendering import render_page
from meme57.report.suite_figures import curve_grids, curves_figure

CONFIDENCE = 0.95
PANEL_HEIGHT = 330
RETURN, FINISHED = "episodes/return", "episodes/finished"
CAPTION = (
    "What you see: the mean undiscounted return of training episodes of all policies, as a running mean over a "
    "twenty-fifth of each run. {lines} Dashed lines are published scores, those of agents after the "
    "frames in their names. They are of whole games, so a game that a run cuts before its end has none."
)
ONE_RUN = "Each line is one run. One run has no interval over seeds."
OVER_SEEDS = (
    "Each line is the mean over n seeds. The band is Student's 95 % interval of that mean; one seed has none. A line "
    "ends where its shortest run ends."
)


@dataclass(frozen=True)
class TrainedRun:
    """A run's learning curve, and what makes it comparable."""

    name: str
    game: str
    seed: int
    configuration: Mapping[str, Any]
    rows: Sequence[Mapping[str, float]]
    """Rows of the learning curve, without unmeasured cells."""
    max_episode_frames: int | None = None


def compared_page(runs: Sequence[TrainedRun], *, by_seed: bool, published: Sequence[str]) -> tuple[str, list[str]]:
    """Build the page, and a line of text for each line that it draws.

    Args:
        by_seed: runs that differ in their seed alone share a line.
        published: agents of `published_agents()`, each drawn as a line.
    """
    members = curves_by_line(runs, by_seed=by_seed)
    lines, games = (list(dict.fromkeys(member[key] for member in members)) for key in ("variant", "game"))
    references = {game: _references([run for run in runs if run.game == game], published) for game in games}
    figure = curves_figure(members, lines, CONFIDENCE, references=references, panel_height=PANEL_HEIGHT)
    rows = list(_last_points(members))
    page = render_page(
        "compared.html",
        {"curves": figure},
        {"curves": CAPTION.format(lines=OVER_SEEDS if by_seed else ONE_RUN)},
        rows=rows,
        runs=[run.name for run in runs],
        confidence=CONFIDENCE,
    )
    return page, [_as_text(row) for row in rows]


def curves_by_line(runs: Sequence[TrainedRun], *, by_seed: bool) -> list[dict[str, Any]]:
    """Give each run the name of its line (`variant`), and smooth its curve; the rows are those of `curves_figure`."""
    return [
        {"game": run.game, "variant": label, "curve": _smoothed(run.rows)}
        for run, label in zip(runs, _labels(runs) if by_seed else [run.name for run in runs], strict=True)
    ]


def _labels(runs: Sequence[TrainedRun]) -> list[str]:
    """Name the line of each run: its name without the seed, and with it where that would join two configurations."""
    keys = [(run.game, without(dict(run.configuration), ("seed",))) for run in runs]
    firsts = [keys.index(key) for key in keys]
    short = [re.sub(rf"-s{run.seed}$", "", run.name) for run in runs]
    return [
        short[first]
        if all(firsts[i] == first for i, name in enumerate(short) if name == short[first])
        else runs[first].name
        for first in firsts
    ]


def _smoothed(rows: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    """Compute the running mean of the return, weighted by episodes, at each row that has one."""
    kept = [row for row in rows if RETURN in row and "frames" in row]
    values = np.array([row[RETURN] for row in kept], np.float64)
    weights = np.array([row.get(FINISHED, 1.0) for row in kept], np.float64)
    smooth = running_mean(values, weights, max(1, round(len(kept) / NUM_SMOOTHING_WINDOWS)))
    points = zip(kept, smooth, strict=True)
    return [{"frames": row["frames"], RETURN: float(value)} for row, value in points if np.isfinite(value)]


def _references(runs: Sequence[TrainedRun], published: Sequence[str]) -> dict[str, float]:
    """Name the published scores of a game; none if any of its runs cuts games."""
    found = [reference_beside(run.game, run.max_episode_frames) for run in runs]
    if (reference := found[0]) is None or None in found:
        return {}
    scores = {agent: published_scores(agent) for agent in published}
    agents = {
        name.replace("_", " "): found[reference.game] for name, found in scores.items() if reference.game in found
    }
    return {"random": reference.random, "human": reference.human, **agents}


def _last_points(members: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for game, found in curve_grids(members).items():
        for line, (frames, seeds) in found.items():
            last = mean_of(np.array([values[-1] for values in seeds]))
            interval = None if len(seeds) == 1 else last.interval(CONFIDENCE)
            rows.append(
                {"game": game, "line": line, "seeds": len(seeds), "frames": int(frames[-1]), "mean": float(last.value),
                 "interval": interval}
            )  # fmt: skip
    return rows


def _as_text(row: Mapping[str, Any]) -> str:
    interval = "" if row["interval"] is None else " [{:,.1f}, {:,.1f}]".format(*row["interval"])
    return (
        f"{row['line']} on {row['game']}: {row['mean']:,.1f}{interval}, n {row['seeds']}, at {row['frames']:,} frames"
    )
