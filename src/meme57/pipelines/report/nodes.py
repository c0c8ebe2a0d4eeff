"""Nodes of `report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def make_plots(learning_curve: pd.DataFrame, episodes: pd.DataFrame, scores: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Learning curve, the bandit's choices, and the returns of each agent."""
    import plotly.graph_objects as go

    from meme57.evaluation import plots

    reference = scores["reference"]
    figures = (
        plots.learning_curve_figure(learning_curve, reference),
        plots.bandit_figure(learning_curve),
        plots.returns_figure(episodes, reference),
    )
    learning, bandit, returns = (figure if figure is not None else go.Figure() for figure in figures)
    return learning, bandit, returns


def make_report(
    scores: dict[str, Any],
    learning_curve: pd.DataFrame,
    episodes: pd.DataFrame,
    fidelity: dict[str, float],
    video: Path,
    run_record: dict[str, Any],
    hardware: dict[str, Any],
) -> str:
    """The whole page."""
    from meme57.evaluation.report import build_report

    return build_report(
        run_name=scores["run"],
        scores=scores,
        learning_curve=learning_curve,
        episodes=episodes,
        fidelity=fidelity,
        video=video.read_bytes(),
        lineage={**run_record, **hardware},
    )
