"""Figures of a suite: the score of each game, the distribution of scores, and the learning curves."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from meme57.evaluation.aggregates import performance_profile, profile_band
from meme57.evaluation.suite_scores import REFERENCE_AGENT, Row, complete_games
from meme57.intervals import mean_of
from meme57.report.panels import LABEL_HEIGHT, PANEL_HEIGHT
from meme57.report.style import (
    GREY,
    PALETTE,
    TITLE_HEIGHT,
    add_band,
    add_reference_lines,
    apply_style,
    legend_mark,
    new_figure,
)

if TYPE_CHECKING:
    import pandas as pd

TICKS = (-1000, -100, -10, 0, 10, 100, 1000, 10_000, 100_000)
"""Ticks of the signed logarithmic axis, in percent."""
PROFILE_POINTS = 101
GRID_POINTS = 40
PIXELS_PER_BAR = 18
DASHES = {"solid": "■", "dot": "⋯", "dash": "╌"}
"""How lines of one colour differ, and the mark of each in a legend."""

Curves = dict[str, dict[str, tuple[NDArray[np.float64], list[NDArray[np.float64]]]]]
"""Game -> variant -> a grid of frames, and each seed's returns on it."""


def suite_figures(
    record: Mapping[str, Any],
    scores: Mapping[str, Any],
    results: pd.DataFrame,
    *,
    confidence: float,
    repetitions: int,
    seed: int,
) -> dict[str, Any]:
    """Draw the figures by name; a figure without data says so and stays empty.

    The profile is over games, so it leaves out a variant that has no numbers over games in `scores`.
    """
    rows = [row for row in table_rows(results) if row["agent"] == REFERENCE_AGENT]
    whole = [row for row in rows if scores["aggregates"][row["variant"]][REFERENCE_AGENT]["statistics"]]
    settings = {"confidence": confidence, "repetitions": repetitions, "seed": seed}
    protocols = ", ".join(dict.fromkeys(row["protocol"] for row in rows))
    figures = {
        "games": games_figure(rows, record["variants"]),
        "profile": profile_figure(whole, record["variants"], settings),
        "curves": curves_figure(record["members"], record["variants"], confidence),
    }
    return {name: _named(name, figure, protocols) for name, figure in figures.items()}


def table_rows(results: pd.DataFrame) -> list[Row]:
    """Return the table's rows; an empty cell is None."""
    cells = results.astype(object).where(results.notna(), None)
    return [{str(name): value for name, value in row.items()} for row in cells.to_dict(orient="records")]


def games_figure(rows: Sequence[Row], variants: Sequence[str]) -> Any:
    """Draw a bar for each game and variant, the mean human-normalised score, with every run as a point."""
    scores = {variant: complete_games(row for row in rows if row["variant"] == variant) for variant in variants}
    games = sorted({game for found in scores.values() for game in found}, key=lambda game: _best(scores, game))
    if not games:
        return None
    figure = new_figure("Human-normalised score of every game", x="human-normalised score", y="")
    for variant, colour in zip(variants, _colours(variants), strict=True):
        found = [game for game in games if game in scores[variant]]
        means = [100 * float(np.mean(scores[variant][game])) for game in found]
        figure.add_bar(
            x=_signed_log(means), y=found, orientation="h", name=variant, marker={"color": colour},
            customdata=means, hovertemplate=f"%{{y}}, {variant}: %{{customdata:.1f}} %<extra></extra>",
            offsetgroup=variant,
        )  # fmt: skip
        runs = [(game, 100 * score) for game in found for score in scores[variant][game]]
        figure.add_scatter(
            x=_signed_log([score for _, score in runs]), y=[game for game, _ in runs], mode="markers",
            marker={"color": GREY, "size": 6, "line": {"color": "white", "width": 1}}, showlegend=False,
            hoverinfo="skip", orientation="h", offsetgroup=variant,
        )  # fmt: skip
    figure.add_vline(x=_signed_log([100.0])[0], line={"color": GREY, "width": 1.2, "dash": "dash"})
    ticks = {"tickmode": "array", "tickvals": _signed_log(TICKS), "ticktext": [f"{tick:,} %" for tick in TICKS]}
    shown = [score for found in scores.values() for runs in found.values() for score in runs]
    low, high = _signed_log([100 * min(0.0, *shown), 100 * max(1.0, *shown)])
    figure.update_xaxes(**ticks, range=[low - 0.06 * (high - low), high + 0.06 * (high - low)])
    figure.update_yaxes(title=None, tickmode="array", tickvals=games, ticktext=[_spaced(game) for game in games])
    height = TITLE_HEIGHT + 130 + (PIXELS_PER_BAR * len(variants) + 10) * len(games)
    return figure.update_layout(
        height=height, hovermode="closest", barmode="group", scattermode="group", showlegend=len(variants) > 1
    )


def profile_figure(rows: Sequence[Row], variants: Sequence[str], settings: Mapping[str, Any]) -> Any:
    """Draw the share of runs above each human-normalised score, with its interval."""
    scores = {variant: complete_games(row for row in rows if row["variant"] == variant) for variant in variants}
    known = [score for found in scores.values() for runs in found.values() for score in runs]
    if not known:
        return None
    low, high = _signed_log([100 * min(0.0, *known), 100 * max(1.0, *known)])
    axis = np.linspace(low, high, PROFILE_POINTS)
    thresholds = np.sign(axis) * np.expm1(np.abs(axis) * np.log(10)) / 100
    figure = new_figure("Performance profile", x="human-normalised score", y="share of runs above it")
    for variant, style in zip(variants, _lines(variants), strict=True):
        if scores[variant]:
            if (band := profile_band(scores[variant], thresholds, **settings)) is not None:
                add_band(figure, axis, *band, style["color"])
            share = performance_profile(scores[variant], thresholds)
            line = {**style, "width": 2.5, "shape": "hv"}
            hover = f"{variant}: %{{y:.0%}}<extra></extra>"
            name = f"{variant}, n {sum(map(len, scores[variant].values()))} runs"
            figure.add_scatter(x=axis, y=share, mode="lines", name=name, line=line, hovertemplate=hover)
    figure.update_xaxes(tickmode="array", tickvals=_signed_log(TICKS), ticktext=[f"{t:,} %" for t in TICKS])
    figure.update_xaxes(range=[low, high + 0.04 * (high - low)], rangemode="normal")
    figure.update_yaxes(range=[0, 1.02], tickformat=".0%")
    return figure.update_layout(showlegend=len(variants) > 1)


def curves_figure(
    members: Sequence[Mapping[str, Any]],
    variants: Sequence[str],
    confidence: float,
    *,
    references: Mapping[str, Mapping[str, float]] | None = None,
    panel_height: int = PANEL_HEIGHT,
) -> Any:
    """Draw returns while learning, one panel per game: the mean over seeds, with an interval if there are several.

    Args:
        members: `game`, `variant` and `curve`, rows of `frames` and `episodes/return`.
        references: published scores by game and name, drawn as lines (see `add_reference_lines`).
    """
    from plotly.subplots import make_subplots

    grids = curve_grids(members)
    if not grids:
        return None
    gap = LABEL_HEIGHT / (panel_height * len(grids))
    figure = make_subplots(rows=len(grids), cols=1, vertical_spacing=gap if len(grids) > 1 else 0)
    for row, (game, found) in enumerate(grids.items(), start=1):
        for variant, line in zip(variants, _lines(variants), strict=True):
            if variant in found:
                _add_curve(figure, *found[variant], variant, line, confidence, row)
        place = {"x": 0, "xref": "paper", "y": 1, "yref": f"y{row if row > 1 else ''} domain"}
        anchors = {"xanchor": "left", "yanchor": "bottom", "align": "left", "showarrow": False}
        figure.add_annotation(text=_panel_title(game, found, variants), font={"size": 12.5}, **place, **anchors)
        if lines := (references or {}).get(game):
            add_reference_lines(figure, lines, list(lines), panel=row)
    figure.update_xaxes(title_text="ALE frames", row=len(grids), col=1)
    height = TITLE_HEIGHT + 56 + panel_height * len(grids)
    apply_style(figure, "Return per episode while learning", height=height, above=LABEL_HEIGHT)
    return figure.update_layout(showlegend=False)


def curve_grids(members: Sequence[Mapping[str, Any]]) -> Curves:
    """Map each game and variant to a grid of frames [K], and the returns [K] of every seed on it.

    A grid ends where the shortest run of its game and variant ends. Before its first episode ends, a run has its first
    return.
    """
    grids: Curves = {}
    known = [member for member in members if member.get("curve")]
    for game, variant in dict.fromkeys((member["game"], member["variant"]) for member in known):
        mine = [member["curve"] for member in known if (member["game"], member["variant"]) == (game, variant)]
        end = min(curve[-1]["frames"] for curve in mine)
        frames = np.linspace(end / GRID_POINTS, end, GRID_POINTS)
        seeds = [
            np.interp(frames, [point["frames"] for point in curve], [point["episodes/return"] for point in curve])
            for curve in mine
        ]
        grids.setdefault(game, {})[variant] = (frames, seeds)
    return grids


def _add_curve(
    figure: Any,
    frames: NDArray[np.float64],
    seeds: list[NDArray[np.float64]],
    variant: str,
    line: dict[str, str],
    confidence: float,
    row: int,
) -> None:
    mean = mean_of(np.stack(seeds, axis=-1))  # [K]
    if len(seeds) > 1:
        reach = mean.reach(confidence)
        add_band(figure, frames, mean.value - reach, mean.value + reach, line["color"], row=row, col=1)
    figure.add_scatter(x=frames, y=mean.value, mode="lines", name=variant, line={**line, "width": 2}, row=row, col=1)


def _panel_title(game: str, found: Mapping[str, Any], variants: Sequence[str]) -> str:
    counts = [len(found[variant][1]) for variant in variants if variant in found]
    seeds = "one run a line" if max(counts) == 1 else f"n {' and '.join(map(str, counts))} seeds"
    title = f'{_spaced(game)}<br><span style="font-size:11px">return, game points, {seeds}</span>'
    if len(variants) == 1:
        return title
    lines = dict(zip(variants, _lines(variants), strict=True))
    names = " ".join(
        legend_mark(line["color"], variant, DASHES[line["dash"]]) for variant, line in lines.items() if variant in found
    )
    return f"{title}   {names}"


def _named(name: str, figure: Any, protocols: str) -> Any:
    if figure is None:
        titles = {"games": "Human-normalised score of every game", "profile": "Performance profile"}
        return new_figure(f"{titles.get(name, 'Return per episode while learning')}: nothing to show", x="", y="")
    if name != "curves":
        figure.update_layout(meta={"protocol": protocols})
        figure.layout.title.text += f", protocol {protocols}"
    return figure


def _best(scores: Mapping[str, Mapping[str, Sequence[float]]], game: str) -> float:
    return max(float(np.mean(found[game])) for found in scores.values() if game in found)


def _colours(variants: Sequence[str]) -> list[str]:
    return [PALETTE[position % len(PALETTE)] for position in range(len(variants))]


def _lines(variants: Sequence[str]) -> list[dict[str, str]]:
    """Give each variant a colour, and another dash where the colours begin again."""
    dashes = [list(DASHES)[position // len(PALETTE) % len(DASHES)] for position in range(len(variants))]
    return [{"color": colour, "dash": dash} for colour, dash in zip(_colours(variants), dashes, strict=True)]


def _signed_log(percent: Sequence[float]) -> list[float]:
    """Compute sign(x) log10(1 + |x|), linear around 0: scores span four decades, and some are negative."""
    values = np.asarray(percent, np.float64)
    found: list[float] = (np.sign(values) * np.log10(1 + np.abs(values))).tolist()
    return found


def _spaced(game: str) -> str:
    """Split `MontezumaRevenge` into words."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", game)
