"""The look of every figure: one palette and one template, readable on a light and on a dark page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

Series = tuple[NDArray[np.float64], NDArray[np.float64]]

BLUE, ORANGE, GREEN, VIOLET, GREY = "#2f80d8", "#d9631e", "#1a9b6c", "#8d68d8", "#7d828a"
PALETTE = (BLUE, ORANGE, GREEN, VIOLET, GREY)
"""Each colour has a contrast of at least 3:1 against the light and against the dark page."""
TITLE_HEIGHT = 48
"""Height of a figure's own title in pixels; a page with its own headings removes it."""
LABEL_SIDES = {"random": {"x": 0, "xanchor": "left"}, "human": {"x": 1, "xanchor": "right"}}
LABEL_LINE = 16
"""Height of a line of labels in pixels."""
AGENT_LABELS = {"bandit_policy": "bandit's policy"}
"""Names of agents on pages, if they differ from those in files."""
FONT_FAMILY = "system-ui, -apple-system, Segoe UI, Roboto, Helvetica Neue, sans-serif"


def agent_label(agent: object) -> str:
    """Return the name of an agent for a table or a figure."""
    return AGENT_LABELS.get(str(agent), str(agent))


def new_figure(title: str, *, x: str, y: str, height: int = 440) -> Any:
    """Make an empty plotly figure in the project's style, with units on its axes; `height` is in pixels."""
    import plotly.graph_objects

    figure = apply_style(plotly.graph_objects.Figure(), title, height=height)
    return figure.update_layout(xaxis={"title": {"text": x}}, yaxis={"title": {"text": y}})


def apply_style(figure: Any, title: str, *, height: int, above: int = 16) -> Any:
    """Give `figure` the template, a title, a height and space `above` the plot; its background is transparent."""
    axis: dict[str, Any] = {
        "gridcolor": "rgba(128,128,128,0.22)",
        "zeroline": False,
        "automargin": True,
        "title": {"font": {"size": 13}, "standoff": 10},
    }
    template = {
        "layout": {
            "font": {"family": FONT_FAMILY, "size": 13, "color": GREY},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "colorway": list(PALETTE),
            "xaxis": axis | {"tickformat": "~s", "rangemode": "tozero"},
            "yaxis": axis | {"separatethousands": True},
            "hovermode": "x",
            "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        }
    }
    heading = {"text": title, "x": 0, "xref": "paper", "y": 1, "yanchor": "top", "pad": {"t": 14}}
    margin = {"l": 56, "r": 12, "t": TITLE_HEIGHT + above, "b": 56}
    return figure.update_layout(template=template, title=heading, margin=margin, height=height)


def legend_mark(colour: str, name: str, mark: str = "■") -> str:
    """Return a mark of the line's colour, and its name in the text's colour, which has the contrast to be read."""
    return f'<span style="color:{colour}">{mark}</span> {name}'


def logged(curve: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the rows of the learning curve with a finite value in `column`; none if there is no such column."""
    if column not in curve or "frames" not in curve:
        return curve.iloc[:0]
    finite = np.isfinite(curve[["frames", column]].to_numpy(np.float64)).all(axis=1)
    rows: pd.DataFrame = curve.loc[finite]
    return rows


def points(curve: pd.DataFrame, column: str) -> Series | None:
    """Return frames and values of the rows in which `column` was logged; None if there are none."""
    rows = logged(curve, column)
    if rows.empty:
        return None
    return rows["frames"].to_numpy(np.float64), rows[column].to_numpy(np.float64)


def add_band(
    figure: Any, x: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64], colour: str, **place: int
) -> None:
    """Fill the area between `low` and `high` where both are known; `place` is the row and column of a subplot."""
    known = np.isfinite(low) & np.isfinite(high)
    x, low, high = x[known], low[known], high[known]
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    figure.add_scatter(
        x=np.concatenate([x, x[::-1]]), y=np.concatenate([high, low[::-1]]), fill="toself", mode="lines",
        fillcolor=f"rgba({red},{green},{blue},0.2)", line={"width": 0}, hoverinfo="skip", showlegend=False, **place,
    )  # fmt: skip


def add_reference_lines(
    figure: Any,
    reference: Mapping[str, Any] | None,
    names: Sequence[str] = ("random", "human"),
    *,
    panel: int = 1,
) -> None:
    """Draw the scores `names` of `reference` as lines inside the axis range of a panel (a row of subplots, from 1).

    A score far outside the data would flatten them, so it is only named at the edge. The label of random play is on the
    left, a human's on the right, others' in the middle.
    """
    if reference is None:
        return
    axis = "y" if panel == 1 else f"y{panel}"
    values = np.concatenate([np.asarray(trace.y, np.float64) for trace in figure.data if (trace.yaxis or "y") == axis])
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    span = max(high - low, 1.0)
    shown, edge = [], {"above": 0, "below": 0}
    for name in names:
        score = float(reference[name])
        label: dict[str, Any] = {"text": f"{name} {score:,.10g}", "font": {"size": 12}}
        label |= {**LABEL_SIDES.get(name, {"x": 0.5, "xanchor": "center"}), "xref": "paper", "showarrow": False}
        if low - 1.5 * span <= score <= high + 1.5 * span:
            line = {"color": GREY, "width": 1.2, "dash": "dash"}
            figure.add_shape(type="line", x0=0, x1=1, xref="paper", y0=score, y1=score, yref=axis, line=line)
            figure.add_annotation(label, y=score, yref=axis, yanchor="bottom")
            shown.append(score)
        else:
            side = "above" if score > high else "below"
            label["text"] += f", {side} this plot"
            if name not in LABEL_SIDES:  # below those at the sides, which it would touch on a phone
                label["yshift"] = (-1 if side == "above" else 1) * LABEL_LINE * edge[side]
            edge[side] = 1 if name in LABEL_SIDES else edge[side] + 1
            place = {"y": 1, "yanchor": "top"} if side == "above" else {"y": 0, "yanchor": "bottom"}
            figure.add_annotation(label, yref=f"{axis} domain", **place)
            shown.append(high + 0.15 * span if side == "above" else low - 0.15 * span)  # space for the text
    figure.update_yaxes(autorangeoptions={"include": shown}, selector=panel - 1)
