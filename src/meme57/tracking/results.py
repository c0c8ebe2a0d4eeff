"""What matters of a run, on its parent: a group of metrics that MLflow shows first, and a description."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from meme57.tracking.overview import RunOverview, overview, run_names

GROUP = "0 results"
"""MLflow sorts groups of metrics by name."""
CURVE = {"episodes/return": "training_return", "evaluation/return": "evaluation_return"}
"""Column of the learning curve -> its name in the group."""
AGENTS = ("teacher", "student")
DESCRIPTION = "mlflow.note.content"


def curve_results(row: Mapping[str, object], *, frames: int) -> dict[str, object]:
    """Return what matters of a row of the learning curve."""
    shown = {f"{GROUP}/{name}": row[column] for column, name in CURVE.items() if column in row}
    return {**shown, f"{GROUP}/frames": frames}


def score_results(agents: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return what matters of the scores."""
    results: dict[str, float] = {}
    for agent in AGENTS:
        if agent in agents:
            results[f"{GROUP}/{agent}_return"] = agents[agent]["mean"]
            if (human := agents[agent]["human_normalised"]) is not None:
                results[f"{GROUP}/{agent}_human_normalised"] = human["mean"]
    return results


def describe(project: Path, kind: Literal["run", "study", "suite"], name: str, link: str | None) -> str:
    """Describe a run, a study or a suite, as Markdown.

    Args:
        link: the address of its page in MLflow; None if it has none there.
    """
    page = project / "data" / "08_reporting" / name / "report.html"
    run = overview(project, name) if kind == "run" and name in run_names(project) else None
    lines = [] if run is None else [_first_line(run)]
    if link is not None:  # above the table, since MLflow folds a long description
        lines.append(f"[Open the page]({link})")
    if page.is_file():
        lines.append(f"On disk: `{page.relative_to(project)}`")
    return "\n\n".join([*lines, *([_scores_table(run)] if run is not None and run.scores else [])])


def page_link(experiment_id: str, run_id: str) -> str:
    """Return the address of a run's page, within MLflow's own pages."""
    return f"#/experiments/{experiment_id}/runs/{run_id}/artifacts/report.html"


def known_link(description: str) -> str | None:
    """Find the page's address in an earlier description."""
    _, found, rest = description.partition("[Open the page](")
    return rest.partition(")")[0] if found else None


def _first_line(run: RunOverview) -> str:
    total = "" if run.total_frames is None else f" of {run.total_frames:,}"
    preset = "" if run.preset is None else f", preset {run.preset}"
    return f"**{run.game}**, seed {run.seed}{preset}: {run.frames:,}{total} frames, {run.state}."


def _scores_table(run: RunOverview) -> str:
    rows = ["| agent | return | interval | n | human |", "|---|---:|---:|---:|---:|"]
    for agent, score in run.scores.items():
        interval = "-" if score.low is None else f"{score.low:,.1f} to {score.high:,.1f}"
        human = "-" if score.human_normalised is None else f"{100 * score.human_normalised:.1f} %"
        rows.append(f"| {agent.replace('_', ' ')} | {score.mean:,.1f} | {interval} | {score.episodes} | {human} |")
    return "\n".join(rows)
