"""Nodes of `report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


PLOTS = ("learning_curve", "bandit", "returns", "diagnostics", "novelty", "throughput")
"""Every figure of the page, in the order of the catalog's plots."""


def make_plots(learning_curve: pd.DataFrame, episodes: pd.DataFrame, scores: dict[str, Any]) -> tuple[Any, ...]:
    """Every figure of the page as a dataset, for Kedro-Viz and MLflow; one without data stays empty."""
    import plotly.graph_objects as go

    from meme57.evaluation import plots

    figures = plots.all_figures(learning_curve, episodes, scores["reference"])
    return tuple(figures.get(name, go.Figure()) for name in PLOTS)


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
