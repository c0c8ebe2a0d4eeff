"""Nodes of `report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


PLOTS = ("learning_curve", "bandit", "returns", "diagnostics", "novelty", "throughput")
"""All figures of the page, in the order of the catalog's plots."""


def make_plots(
    learning_curve: pd.DataFrame, episodes: pd.DataFrame, scores: dict[str, Any], report: str
) -> tuple[Any, ...]:
    """Draw all figures of the page, for Kedro-Viz and MLflow; a figure without data stays empty.

    `report` only shows that all belongs together, so that nothing goes to MLflow before that is known.

    Raises:
        IncompatibleCheckpointError: the scores were not computed from these episodes.
    """
    import plotly.graph_objects as go

    from meme57.evaluation.scores import check_episodes
    from meme57.report.figures import all_figures, reference_lines

    check_episodes(episodes, scores)
    figures = all_figures(learning_curve, episodes, **reference_lines(scores))
    return tuple(figures.get(name, go.Figure()) for name in PLOTS)


def make_report(
    checkpoints: dict[str, Any],
    scores: dict[str, Any],
    learning_curve: pd.DataFrame,
    episodes: pd.DataFrame,
    fidelity: dict[str, Any],
    video: Path,
    run_record: dict[str, Any],
    hardware: dict[str, Any],
) -> str:
    """Build the whole page.

    Raises:
        IncompatibleCheckpointError: scores, episodes, student and film are not all from this run's best checkpoint.
    """
    from meme57.checkpoints.source import check_source, checkpoint_source, find_text
    from meme57.evaluation.scores import check_episodes, check_film, check_scores
    from meme57.report.page import build_report

    source = checkpoint_source(Path(checkpoints["best"]["folder"]))
    student = fidelity.get("student_sha256", scores.get("student_sha256"))  # an older file does not name the student
    check_scores(scores, run_name=run_record["run_name"], source=source, student_sha256=student)
    if fidelity:  # empty if there is no student
        check_source(fidelity.get("source"), source, what="the student's numbers are", maker="distill")
    check_episodes(episodes, scores)
    if film := video.read_bytes():  # empty if no film could be made
        check_source(find_text(film), source, what="the film is", maker="evaluate")
        check_film(film, scores)
    return build_report(
        run_name=scores["run"],
        scores=scores,
        learning_curve=learning_curve,
        episodes=episodes,
        fidelity={name: value for name, value in fidelity.items() if name not in ("source", "student_sha256")},
        video=film or None,
        lineage={**run_record, **hardware, **source},
    )
