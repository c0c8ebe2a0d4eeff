"""Optuna's plots in the project's style, and the report page of a study."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any

import optuna

from meme57.report.rendering import render_page
from meme57.report.style import apply_style, new_figure
from meme57.tuning.result import evidence_lines


def _visualization() -> Any:
    """Import Optuna's Plotly plots without Matplotlib, which would write a list of fonts under HOME."""
    is_hidden = sys.modules.setdefault("matplotlib", None) is None  # type: ignore[arg-type]
    try:
        return importlib.import_module("optuna.visualization")
    finally:
        if is_hidden:
            del sys.modules["matplotlib"]


visualization = _visualization()
PLOTS: dict[str, tuple[str, Callable[[optuna.Study], Any], str]] = {
    "history": (
        "Score of every trial",
        visualization.plot_optimization_history,
        "What you see: each complete trial, and the best so far.",
    ),
    "importances": (
        "What mattered",
        visualization.plot_param_importances,
        "What you see: how much of the difference between trials goes with each parameter.",
    ),
    "parallel": (
        "Trials across parameters",
        visualization.plot_parallel_coordinate,
        "What you see: one line a complete trial, from its score through its parameters.",
    ),
    "slices": (
        "Score against each parameter",
        visualization.plot_slice,
        "What you see: one point a complete trial; darker ones came later.",
    ),
    "intermediate": (
        "Score while learning",
        visualization.plot_intermediate_values,
        "What you see: what each trial reported, pruned ones too, against frames (games and seeds with Wilcoxon).",
    ),
}
HEIGHT = 440

log = logging.getLogger(__name__)


def study_figures(study: optuna.Study) -> dict[str, Any]:
    """Draw the five plots by name; a plot stays empty if the trials are too few or too equal."""
    return {name: _figure(study, title, draw) for name, (title, draw, _) in PLOTS.items()}


def study_page(record: Mapping[str, Any], evidence: Mapping[str, Any] | None, figures: Mapping[str, Any]) -> str:
    """Build one HTML page, which needs no server or network."""
    states = ", ".join(f"{count} {state.lower()}" for state, count in record["states"].items() if count)
    lines = [
        f"{len(record['trials'])} trials ({states}) on {', '.join(record['games'])}, {record['frames']:,} frames.",
        *evidence_lines(evidence),
    ]
    captions = {name: caption for name, (_, _, caption) in PLOTS.items()}
    return render_page("study.html", figures, captions, record=record, lines=lines)


def _figure(study: optuna.Study, title: str, draw: Callable[[optuna.Study], Any]) -> Any:
    try:
        figure = draw(study)
    except (ValueError, RuntimeError) as error:
        log.info("no plot %r: %s", title, error)
        return new_figure(f"{title}: not enough trials", x="", y="", height=HEIGHT)
    figure.update_layout(width=None)  # with many panels Optuna sets a width, which is wider than a page
    return apply_style(figure, title, height=HEIGHT)
