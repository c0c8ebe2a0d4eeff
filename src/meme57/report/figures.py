"""Figures of a run: what it learned, which policies played, and whether the learner was healthy.

Each function takes the learning curve (wide, one row per log period, NaN for unlogged values) or the table of episodes.
It returns a plotly `Figure`, or None if the columns that it needs are missing or empty. Colours, backgrounds and grids
are readable on a light and on a dark page.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from meme57.evaluation.reference import is_cut
from meme57.report.panels import PANELS, small_multiples
from meme57.report.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    VIOLET,
    add_band,
    add_reference_lines,
    agent_label,
    logged,
    new_figure,
    points,
)

if TYPE_CHECKING:
    import pandas as pd

AGENT_COLOURS = {"random": GREY, "teacher": BLUE, "bandit_policy": GREEN, "student": ORANGE}
POLICY_RAMP = ("#2f6fd0", "#8d5fd0", "#d0598f", "#e0873a")
"""Colours from the exploiting policy 0 to the most exploring one."""

NUM_SMOOTHING_WINDOWS = 25
NUM_BANDIT_BARS = 40


def all_figures(
    learning_curve: pd.DataFrame,
    episodes: pd.DataFrame,
    *,
    training: Mapping[str, Any] | None,
    evaluation: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Draw every figure that has data, by name, in the order of the report.

    Args:
        training, evaluation: published scores that the returns of each may stand beside (`reference_lines`), or None.
    """
    figures = {
        "learning_curve": learning_curve_figure(learning_curve, training),
        "returns": returns_figure(episodes, evaluation),
        "bandit": bandit_figure(learning_curve),
        **{name: small_multiples(title, learning_curve, panels) for name, (title, panels) in PANELS.items()},
    }
    return {name: figure for name, figure in figures.items() if figure is not None}


def reference_lines(scores: Mapping[str, Any]) -> dict[str, Mapping[str, Any] | None]:
    """Choose the published scores that `all_figures` draws: none beside returns of games that were cut."""
    reference, protocol = scores.get("reference"), scores["protocol"]
    change = protocol.get("changed_since_training", {}).get("max_episode_frames", {})
    trained = change.get("training", protocol.get("max_episode_frames"))
    any_cut = any(summary.get("cut_short") for summary in scores["agents"].values())
    return {"training": None if is_cut(trained) else reference, "evaluation": None if any_cut else reference}


def learning_curve_figure(curve: pd.DataFrame, reference: Mapping[str, Any] | None = None) -> Any:
    """Draw training returns against frames: faint as logged, strong as a running mean weighted by episodes.

    Args:
        curve: needs `frames` and one of `episodes/return`, `episodes/return_exploit`, `evaluation/return`.
        reference: `random` and `human`, drawn as lines, or named at the edge if they are far outside the data.
    """
    figure = new_figure("Return per episode while learning", x="ALE frames", y="return, game points")
    for column, weight, label, colour in (
        ("episodes/return", "episodes/finished", "all policies", GREEN),
        ("episodes/return_exploit", "policy_episodes/0", "policy 0, exploiting", BLUE),
    ):
        _add_smoothed(figure, curve, column, weight, label, colour)
    if (evaluated := points(curve, "evaluation/return")) is not None:
        marker = {"color": VIOLET, "size": 9, "symbol": "diamond"}
        figure.add_scatter(x=evaluated[0], y=evaluated[1], mode="markers", name="evaluation", marker=marker)
    if not figure.data:
        return None
    add_reference_lines(figure, reference)
    return figure


def returns_figure(episodes: pd.DataFrame, reference: Mapping[str, Any] | None = None) -> Any:
    """Draw each agent's evaluation episodes as points, over a box of quartiles and mean."""
    if episodes.empty:
        return None
    figure = new_figure("Return of every evaluation episode", x="", y="return, game points")
    present = list(episodes["agent"].unique())
    known = [agent for agent in AGENT_COLOURS if agent in present]
    for agent in known + [agent for agent in present if agent not in known]:
        rows = episodes[episodes["agent"] == agent]
        figure.add_box(
            y=rows["return"].to_numpy(np.float64),
            name=agent_label(agent),
            text=[f"episode {episode}" for episode in rows["episode"]],
            boxpoints="all",
            boxmean=True,
            jitter=0.5,
            pointpos=0,
            marker={"color": AGENT_COLOURS.get(agent, VIOLET), "size": 5, "opacity": 0.45},
            line={"width": 1.5},
            showlegend=False,
        )
    figure.update_layout(hovermode="closest", xaxis={"title": None, "showgrid": False, "tickformat": None})
    add_reference_lines(figure, reference)
    return figure


def bandit_figure(curve: pd.DataFrame) -> Any:
    """Draw the share of episodes that each policy played, stacked, in bins of whole log periods."""
    import plotly.colors

    policies = sorted(int(match[1]) for name in curve.columns if (match := re.match(r"policy_episodes/(\d+)$", name)))
    if not policies or not len(curve):
        return None
    frames, width, shares = _binned_shares(curve, [f"policy_episodes/{j}" for j in policies])
    if not frames.size:
        return None
    figure = new_figure("Which policies played", x="ALE frames", y="share of episodes")
    scale = [position / max(1, len(policies) - 1) for position in range(len(policies))]
    named = {policies[len(policies) // 2]: "", policies[-1]: " (explores most)", policies[0]: " (exploits)"}
    for position, colour in enumerate(plotly.colors.sample_colorscale(list(POLICY_RAMP), scale)):
        j = policies[position]
        figure.add_bar(
            x=frames,
            y=shares[:, position],
            width=width,
            name=f"policy {j}{named.get(j, '')}",
            showlegend=j in named,
            marker={"color": colour, "line": {"width": 0}},
            hovertemplate=f"policy {j}: %{{y:.0%}}<extra></extra>",
        )
    figure.update_layout(barmode="stack", bargap=0, hovermode="closest", legend={"itemclick": False})
    figure.update_xaxes(tick0=0, dtick=_round_step(float(frames[-1])))  # few bars would get their centres as ticks
    return figure.update_yaxes(range=[0, 1], tickformat=".0%")


def running_mean(values: NDArray[np.float64], weights: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Compute the weighted mean over `window` rows around each row, fewer at the ends; NaN if all weights are 0.

    Args:
        values: `[n]`, finite.
        weights: `[n]`, not negative; NaN counts as 0.
    """
    weights = np.nan_to_num(weights)
    total = np.concatenate([[0.0], np.cumsum(weights)])
    weighted = np.concatenate([[0.0], np.cumsum(weights * values)])
    row = np.arange(values.size)
    low = np.maximum(row - window // 2, 0)
    high = np.minimum(row + (window + 1) // 2, values.size)
    weight = total[high] - total[low]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(weight > 0, (weighted[high] - weighted[low]) / weight, np.nan)


def running_error(values: NDArray[np.float64], weights: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Compute the standard error of `running_mean`: its weighted standard deviation / sqrt(effective rows).

    Rows count as independent, and (sum w)^2 / sum w^2 of them are effective. A single row has 0.
    """
    weights = np.nan_to_num(weights)
    mean = running_mean(values, weights, window)
    spread = running_mean(values**2, weights, window) - mean**2
    row = np.arange(values.size)
    low, high = np.maximum(row - window // 2, 0), np.minimum(row + (window + 1) // 2, values.size)
    total, squares = (np.concatenate([[0.0], np.cumsum(weights**power)]) for power in (1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        effective = (total[high] - total[low]) ** 2 / (squares[high] - squares[low])
        error: NDArray[np.float64] = np.sqrt(np.maximum(spread, 0.0) / np.maximum(effective, 1.0))
    return error


def _add_smoothed(figure: Any, curve: pd.DataFrame, column: str, weight: str, label: str, colour: str) -> None:
    rows = logged(curve, column)
    if rows.empty:
        return
    frames, values = rows["frames"].to_numpy(np.float64), rows[column].to_numpy(np.float64)
    weights = rows[weight].to_numpy(np.float64) if weight in rows else np.ones(values.size)
    window = max(1, round(values.size / NUM_SMOOTHING_WINDOWS))
    smooth = running_mean(values, weights, window)
    if window > 1:
        error = 1.96 * running_error(values, weights, window)
        add_band(figure, frames, smooth - error, smooth + error, colour)
        line = {"color": colour, "width": 1}
        figure.add_scatter(x=frames, y=values, mode="lines", line=line, opacity=0.3, showlegend=False, hoverinfo="skip")
    mode = "lines+markers" if frames.size < 3 else "lines"
    line = {"color": colour, "width": 2.5}
    hover = "%{y:,.4~g}"
    figure.add_scatter(x=frames, y=smooth, mode=mode, name=label, line=line, hovertemplate=hover)


def _round_step(end: float) -> float:
    """Choose a step of about a fifth of `end`: 1, 2 or 5 times a power of ten."""
    power = 10.0 ** np.floor(np.log10(max(end, 1.0) / 5))
    return float(next(step * power for step in (1, 2, 5, 10) if step * power >= end / 5))


def _binned_shares(
    curve: pd.DataFrame, columns: list[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Compute centres and widths of bins in frames `[bins]`, and shares `[bins, policies]`; empty bins are dropped."""
    ends = curve["frames"].to_numpy(np.float64)
    starts = np.concatenate([[0.0], ends[:-1]])
    counts = np.nan_to_num(curve[columns].to_numpy(np.float64))
    bins = [
        rows for rows in np.array_split(np.arange(ends.size), min(NUM_BANDIT_BARS, ends.size)) if counts[rows].sum()
    ]
    low = np.array([starts[rows[0]] for rows in bins])
    high = np.array([ends[rows[-1]] for rows in bins])
    total = np.array([counts[rows].sum(axis=0) for rows in bins]).reshape(len(bins), len(columns))
    return (low + high) / 2, high - low, total / total.sum(axis=1, keepdims=True)
