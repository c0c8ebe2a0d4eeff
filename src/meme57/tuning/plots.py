"""Optuna's plots in the project's style, and the report page of a study."""

from __future__ import annotations

import importlib
import logging
import math
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna

from meme57.report.rendering import render_page
from meme57.report.style import BLUE, ORANGE, apply_style, new_figure
from meme57.report.summary import cut_study_line
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
PLOTS = {
    "history": ("Score of every trial", "What you see: each complete trial, and the best so far."),
    "importances": (
        "What mattered",
        "What you see: how much of the difference between trials goes with each parameter.",
    ),
    "parallel": (
        "Trials across parameters",
        "What you see: one line a complete trial, from its score through its parameters; orange scored highest.",
    ),
    "slices": (
        "Score against each parameter",
        "What you see: one point a complete trial; blue ones came first, orange ones last.",
    ),
    "intermediate": (
        "Score while learning",
        "What you see: what each trial reported, pruned ones too, against frames (games and seeds with Wilcoxon).",
    ),
}
"""Title and caption of each plot."""
HEIGHT, SLICE_HEIGHT, SLICE_GAP = 440, 200, 0.5
"""Pixels; the gap below a slice is a part of its panel's height."""
RAMP = ((0.0, BLUE), (1.0, ORANGE))
"""Readable on a light and on a dark page, unlike Optuna's blues, which go from white to nearly black."""

log = logging.getLogger(__name__)


def study_figures(study: optuna.Study) -> dict[str, Any]:
    """Draw the five plots by name; a plot stays empty if the trials are too few or too equal."""
    draw = {
        "history": _history,
        "importances": _importances,
        "parallel": _parallel,
        "slices": _slices,
        "intermediate": _intermediate,
    }
    return {name: _figure(study, title, draw[name]) for name, (title, _) in PLOTS.items()}


def study_page(record: Mapping[str, Any], evidence: Mapping[str, Any] | None, figures: Mapping[str, Any]) -> str:
    """Build one HTML page, which needs no server or network."""
    cut = cut_study_line(record)
    states = ", ".join(f"{count} {state.lower()}" for state, count in record["states"].items() if count)
    lines = [
        f"{len(record['trials'])} trials ({states}) on {', '.join(record['games'])}, {record['frames']:,} frames.",
        *([] if cut is None else [cut]),
        *evidence_lines(evidence),
    ]
    captions = {name: caption for name, (_, caption) in PLOTS.items()}
    best = [(name, _written(value)) for name, value in record["best"]["values"].items()]
    return render_page("study.html", figures, captions, record=record, lines=lines, best_values=best)


def _figure(study: optuna.Study, title: str, draw: Callable[[optuna.Study, str], Any]) -> Any:
    name = (study.metric_names or ["score"])[0]
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # of equal trials, which the plot shows
            figure = draw(study, name)
    except (ValueError, RuntimeError) as error:
        log.info("no plot %r: %s", title, error)
        return new_figure(f"{title}: not enough trials", x="", y="", height=HEIGHT)
    return apply_style(figure, title, height=figure.layout.height or HEIGHT)


def _drawn(figure: Any) -> Any:
    """Return Optuna's figure; raise ValueError if nothing is drawn in it."""
    if not figure.data:
        raise ValueError("there is nothing to draw")
    return figure


def _history(study: optuna.Study, name: str) -> Any:
    figure = _drawn(visualization.plot_optimization_history(study, target_name=name))
    return figure.update_yaxes(tickformat=_format(figure.data[0].y))


def _importances(study: optuna.Study, name: str) -> Any:
    figure = _drawn(visualization.plot_param_importances(study, target_name=name))
    figure.update_xaxes(title_text="share of the difference", tickformat="~g", range=[0, 1.2 * max(figure.data[0].x)])
    return figure.update_yaxes(title_text="")


def _parallel(study: optuna.Study, name: str) -> Any:
    """Colour each line by its score, which is its first coordinate; shorten names to their last part."""
    figure = _drawn(visualization.plot_parallel_coordinate(study, target_name=name))
    figure.data = figure.data[:-1]  # the last one only carries a colour bar
    for line in figure.data:
        line.line.color = _mixed(float(line.y[0]))
    for annotation in figure.layout.annotations:
        annotation.update(text=_written(annotation.text), font={"color": None, "size": 11})
    names = sorted({name for trial in study.trials for name in trial.params})
    labels = figure.layout.xaxis.ticktext[1:]
    if len(names) == len(labels):
        labels = [name.rpartition(".")[2] for name in names]
    figure.update_xaxes(ticktext=["score", *labels], tickangle=-30, ticklabeloverflow="allow")
    return figure.update_layout(plot_bgcolor=None, hovermode="closest")


def _slices(study: optuna.Study, name: str) -> Any:
    """Put the panels one below the other, so that they are readable on a phone."""
    figure = _drawn(visualization.plot_slice(study, target_name=name))
    panels = [trace for trace in figure.data if trace.marker.colorscale is not None]
    share = 1 / (len(panels) + SLICE_GAP * (len(panels) - 1))  # of a panel without the gap below it
    for number, trace in enumerate(panels):
        x, y = (figure.layout[f"{trace[axis][0]}axis{trace[axis][1:]}"] for axis in ("xaxis", "yaxis"))
        trace.marker.update(colorscale=RAMP, showscale=False, line={"width": 0})
        x.update(domain=[0, 1], rangemode="normal", title={"standoff": 2})
        bottom = (len(panels) - 1 - number) * (1 + SLICE_GAP) * share
        y.update(domain=[bottom, min(1.0, bottom + share)], showticklabels=True)
        y.update(title={"text": ""}, tickformat=_format(trace.y), nticks=5)
        if x.type == "log":
            ticks = _log_ticks(trace.x)
            x.update(tickvals=ticks, ticktext=[_written(tick) for tick in ticks])
        elif x.type != "category":
            x.update(tickformat=_format(trace.x))
    return figure.update_layout(width=None, height=SLICE_HEIGHT * len(panels))


def _intermediate(study: optuna.Study, name: str) -> Any:
    figure = _drawn(visualization.plot_intermediate_values(study))
    is_by_unit = isinstance(study.pruner, optuna.pruners.WilcoxonPruner)
    figure.update_xaxes(title_text="game and seed" if is_by_unit else "frames")
    scores = [score for trace in figure.data for score in trace.y]
    return figure.update_yaxes(title_text=name, tickformat=_format(scores))


def _format(values: Sequence[float | None]) -> str:
    """Choose how an axis writes its numbers: 20k and 1M from ten thousand on, else 0.0001."""
    return "~s" if max((abs(value) for value in values if value is not None), default=0.0) >= 1e4 else "~g"


def _log_ticks(values: Sequence[float]) -> list[float]:
    """List the powers of ten among the values; if there are fewer than two, twice and five times them too."""
    low, high = min(values), max(values)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 2, 5)):
        ticks = [factor * 10.0**decade for decade in decades for factor in factors]
        inside = [tick for tick in ticks if 0.99 * low <= tick <= 1.01 * high]
        if len(inside) >= 2:
            return inside
    return [low, high]


def _written(value: Any) -> str:
    """Write a value of a parameter as people do: 1e-4, 0.25, 20k, 1M; other values as they are."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    if isinstance(value, bool) or not math.isfinite(number):
        return str(value)
    for least, factor, unit in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(number) >= least:
            return f"{number / factor:.4g}{unit}"
    if 0 < abs(number) < 1e-3:
        mantissa, exponent = f"{number:.2e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{number:.4g}"


def _mixed(share: float) -> str:
    """Mix the two ends of the ramp: 0 is blue, 1 is orange."""
    ends = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for _, colour in RAMP]
    return "rgb({})".format(",".join(f"{low + share * (high - low):.0f}" for low, high in zip(*ends, strict=True)))
