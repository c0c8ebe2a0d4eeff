"""Small plots of learner, novelty and throughput, one below the other over the same frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meme57.report.style import PALETTE, TITLE_HEIGHT, apply_style, legend_mark, points

if TYPE_CHECKING:
    import pandas as pd

PANEL_HEIGHT = 165
LABEL_HEIGHT = 52
"""Heights in pixels: of a panel with its label, and of the label with the space around it."""


@dataclass(frozen=True)
class Panel:
    """One small plot: its title, its unit, and the columns that it draws with their labels."""

    title: str
    unit: str
    columns: Mapping[str, str]
    """Column of the learning curve -> its label, in drawing order."""
    tick_format: str = ""


PANELS: dict[str, tuple[str, tuple[Panel, ...]]] = {
    "diagnostics": (
        "Health of the learner",
        (
            Panel(
                "Loss",
                "mean per step",
                {"loss/total": "total", "loss/value": "value", "loss/distillation": "distillation"},
            ),
            Panel(
                "Steps dropped by the trust region", "share of steps", {"learner/trust_region_rate": "dropped"}, "~%"
            ),
            Panel("Steps dropped by the KL limit", "share of steps", {"learner/kl_rate": "dropped"}, "~%"),
            Panel("Trace coefficient c", "mean c, 0 to 1", {"learner/trace": "trace"}),
            Panel(
                "TD scale sigma, mean over policies",
                "transformed return",
                {"learner/sigma_extrinsic": "extrinsic", "learner/sigma_intrinsic": "intrinsic"},
            ),
            Panel("Gradient norm before clipping", "norm", {"learner/gradient_norm": "norm"}),
        ),
    ),
    "novelty": (
        "Novelty",
        (
            Panel("Intrinsic reward", "reward per step", {"novelty/intrinsic_reward": "intrinsic reward"}),
            Panel("Lifelong novelty factor", "factor, 1 to L", {"novelty/lifelong": "factor"}),
            Panel("Random network distillation", "loss", {"novelty/rnd_loss": "loss"}),
            Panel("Inverse dynamics", "cross-entropy, nats", {"novelty/action_loss": "loss"}),
        ),
    ),
    "throughput": (
        "Speed and replay",
        (
            Panel("Environment speed", "ALE frames / s", {"speed/frames_per_second": "frames / s"}),
            Panel("Learner speed", "updates / s", {"speed/updates_per_second": "updates / s"}),
            Panel("Replay size", "sequences", {"replay/sequences": "sequences"}),
            Panel("Replay memory", "bytes / agent step", {"replay/bytes_per_step": "bytes / step"}),
            Panel("Replay ratio", "samples / insert", {"replay/samples_per_insert": "samples / insert"}),
        ),
    ),
}
"""Name of a figure of the report -> its title and its panels."""


def small_multiples(title: str, curve: pd.DataFrame, panels: tuple[Panel, ...]) -> Any:
    """Draw one figure with a row for each panel that has data, over shared frames; None if no panel has data."""
    from plotly.subplots import make_subplots

    drawn = [panel for panel in panels if any(points(curve, column) for column in panel.columns)]
    if not drawn:
        return None
    gap = LABEL_HEIGHT / (PANEL_HEIGHT * len(drawn))
    figure = make_subplots(rows=len(drawn), cols=1, shared_xaxes=True, vertical_spacing=gap if len(drawn) > 1 else 0)
    for row, panel in enumerate(drawn, start=1):
        _draw_panel(figure, curve, panel, row)
    figure.update_xaxes(title_text="ALE frames", row=len(drawn), col=1)
    height = TITLE_HEIGHT + 56 + PANEL_HEIGHT * len(drawn)
    return apply_style(figure, title, height=height, above=LABEL_HEIGHT).update_layout(showlegend=False)


def _draw_panel(figure: Any, curve: pd.DataFrame, panel: Panel, row: int) -> None:
    labels = []
    for (column, label), colour in zip(panel.columns.items(), PALETTE, strict=False):
        if (series := points(curve, column)) is None:
            continue
        mode = "lines+markers" if series[0].size < 3 else "lines"
        line = {"color": colour, "width": 1.8}
        figure.add_scatter(x=series[0], y=series[1], mode=mode, name=label, line=line, row=row, col=1)
        labels.append(legend_mark(colour, label))
    figure.update_yaxes(tickformat=panel.tick_format, nticks=5, row=row, col=1)
    text = f'{panel.title}<br><span style="font-size:11px">{panel.unit}</span>'
    if len(panel.columns) > 1:
        text += f"   {' '.join(labels)}"
    figure.add_annotation(
        text=text,
        align="left",
        font={"size": 12.5},
        showarrow=False,
        x=0,
        xref="paper",
        xanchor="left",
        y=1,
        yref=f"y{row if row > 1 else ''} domain",
        yanchor="bottom",
    )
