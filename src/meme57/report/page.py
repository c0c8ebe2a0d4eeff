"""One HTML page that tells how a run went: no server, no network, one file.

plotly.js, figures and video are inlined; a content security policy forbids every request. Text is escaped.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from string import Template
from typing import TYPE_CHECKING, Any

from meme57.report.figures import all_figures
from meme57.report.style import TITLE_HEIGHT
from meme57.report.summary import bracketed, one_value_line, protocol_line

if TYPE_CHECKING:
    import pandas as pd

ABSENT = "–"

EXPLANATIONS = {
    "learning_curve": (
        "What you see: the mean undiscounted return of the episodes that ended in each log period; the strong lines "
        "are running means weighted by episodes, each in a band of 1.96 standard errors over log periods; policy 0 "
        "only exploits, and dashed lines are the published random and human scores."
    ),
    "returns": (
        "What you see: one point per evaluation episode; the box spans the middle half, its solid line is the median "
        "and its dashed line the mean."
    ),
    "bandit": (
        "What you see: how often each policy of the family played an episode, from the far-sighted exploiting "
        "policy 0 to the short-sighted one that explores most; under the bandit a share that grows means that "
        "policy's recent returns were better, without it all are drawn evenly."
    ),
    "diagnostics": (
        "What you see: a healthy learner drops few steps, keeps its traces well above 0 and its gradient norm below "
        "the clipping limit most of the time; sigma follows the scale of the game's TD errors."
    ),
    "novelty": (
        "What you see: the intrinsic reward and its lifelong factor, which falls towards 1 as the game becomes "
        "familiar, and the losses of the two networks that judge what is new."
    ),
    "throughput": (
        "What you see: how fast frames came in and updates went out, how full and how compact the replay was, and how "
        "often a stored sequence was drawn, which the rate limiter holds at its target after the warm-up."
    ),
}
FIDELITY_LABELS = {
    "agreement": "Steps on which both choose the same action",
    "kl": "KL divergence of the student from the teacher, nats",
    "return_teacher": "Return of the teacher",
    "return_student": "Return of the student",
    "parameters_teacher": "Parameters of the teacher",
    "parameters_student": "Parameters of the student",
}
FRACTIONS = ("agreement",)


def build_report(
    *,
    run_name: str,
    scores: Mapping[str, Any],
    learning_curve: pd.DataFrame,
    episodes: pd.DataFrame,
    fidelity: Mapping[str, Any] | None,
    video: bytes | None,
    lineage: Mapping[str, Any],
) -> str:
    """The whole page as text.

    Args:
        run_name: as in the paths.
        scores: `game`, `frames`, `confidence`, `protocol`, `agents` (name to a summary of `summarise_returns`) and
            `reference` (`random`, `human`, `record`, `source`) or None.
        learning_curve: the columns that `plots` knows; what is absent is left out.
        episodes: `agent`, `episode`, `return`, `length_steps`, `seed`.
        fidelity: flat numbers of the distillation, or None.
        video: an mp4, or None.
        lineage: where it comes from (commit, fingerprint, seeds, versions ...); values may be nested.
    """
    figures = {
        name: json.loads(figure.to_json())
        for name, figure in all_figures(learning_curve, episodes, scores.get("reference")).items()
    }
    sections = [_header(run_name, scores), _score_section(scores), _video_section(video)]
    sections += [plot_section(name, figure, EXPLANATIONS[name]) for name, figure in figures.items()]
    sections += [_fidelity_section(fidelity), _footer(lineage)]
    return render_page(f"{run_name}: MEME on {scores['game']}", sections, figures)


def render_page(title: str, sections: Sequence[str], figures: Mapping[str, Any]) -> str:
    """The page of these sections, plotly.js and all; `figures` by the names that `plot_section` was given."""
    from plotly.offline import get_plotlyjs

    template = Template(resources.files("meme57.evaluation").joinpath("report_template.html").read_text("utf-8"))
    return template.substitute(
        title=escape(title),
        body="\n".join(section for section in sections if section),
        plotly=get_plotlyjs(),
        figures=_inert_json(figures),
    )


def _header(run_name: str, scores: Mapping[str, Any]) -> str:
    told = ("protocol", "departures", "changed_since_training")
    details = {key: value for key, value in scores["protocol"].items() if key not in told}
    settings = " · ".join(f"{_words(key)} {_text(value)}" for key, value in details.items())
    line = protocol_line(scores)
    judged = "" if line is None else f"<br>Judged by {escape(line)}."
    return (
        f"<header><h1>MEME on {escape(str(scores['game']))}</h1>"
        f'<p class="lead">Run <strong>{escape(run_name)}</strong>, {_number(scores["frames"])} frames.'
        f'{judged}</p><details class="note"><summary>Every setting of the evaluation</summary>{settings}</details>'
        f'<div class="tiles">{"".join(_tiles(scores))}</div></header>'
    )


def _tiles(scores: Mapping[str, Any]) -> list[str]:
    return [
        f'<div class="tile"><span>{_words(name).capitalize()}</span><b>{_score(summary["mean"])}</b>'
        f"<span>{_tile_note(summary['human_normalised'])}</span></div>"
        for name, summary in scores["agents"].items()
    ]


def _tile_note(normalised: Mapping[str, Any] | None) -> str:
    return "mean return" if normalised is None else f"{_percent(normalised['mean'])} human-normalised"


def _score_section(scores: Mapping[str, Any]) -> str:
    reference = scores.get("reference")
    rows = [_agent_row(name, summary) for name, summary in scores["agents"].items()]
    if reference is not None:
        rows.insert(1, _row("human", "published", (_exact(reference["human"]), ABSENT, _percent(1.0))))
    heads = "".join(f"<th>{head}</th>" for head in ("Agent", "Mean return", "IQM", "Human-normalised"))
    return (
        "<section><h2>Scores</h2>"
        f'<div class="scroll"><table class="scores"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
        f'<p class="note">{_score_note(scores, reference)}</p></section>'
    )


def _agent_row(name: str, summary: Mapping[str, Any]) -> str:
    normalised = summary["human_normalised"]
    score = ABSENT if normalised is None else _with_interval(normalised, 100.0, " %")
    cells = (_with_interval(summary), _score(summary["iqm"]), score)
    return _row(_words(name), f"{_number(summary['episodes'])} episodes", cells)


def _row(name: str, note: str, cells: tuple[str, ...]) -> str:
    return f"<tr><th>{name}<small>{note}</small></th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _score_note(scores: Mapping[str, Any], reference: Mapping[str, Any] | None) -> str:
    note = (
        f"In brackets: the {_exact(100 * scores['confidence'])} % interval of the mean over episodes of this one "
        "policy. It says nothing about other training seeds. "
    )
    if (line := one_value_line(scores)) is not None:
        note += f"{escape(line)} "
    if reference is None:
        return note + "There are no published random and human scores for this game, so returns stand as they are."
    record = "" if reference["record"] is None else f"; the human record is {_exact(reference['record'])}"
    return (
        f"{note}Human-normalised: 0 % is the published random score, {_exact(reference['random'])}, and 100 % the "
        f"published human score, {_exact(reference['human'])}{record}. Source: {_text(reference['source'])}."
    )


def _video_section(video: bytes | None) -> str:
    if video is None:
        return ""
    data = base64.b64encode(video).decode()
    return (
        "<section><figure><h2>The trained agent at play</h2>"
        f'<video controls muted loop playsinline preload="metadata" src="data:video/mp4;base64,{data}"></video>'
        "<figcaption>What you see: one evaluation episode, from its start.</figcaption></figure></section>"
    )


def plot_section(name: str, figure: dict[str, Any], caption: str) -> str:
    """The heading takes the figure's own title, which would not wrap on a phone, away from `figure`."""
    title = figure["layout"].pop("title")["text"]
    figure["layout"]["margin"]["t"] -= TITLE_HEIGHT
    figure["layout"]["height"] -= TITLE_HEIGHT
    return (
        f'<section><figure><h2>{escape(title)}</h2><div class="plot" id="plot-{name}"></div>'
        f"<figcaption>{escape(caption)}</figcaption></figure></section>"
    )


def _fidelity_section(fidelity: Mapping[str, Any] | None) -> str:
    if not fidelity:
        return ""
    rows = [
        f"<tr><th>{escape(FIDELITY_LABELS[key]) if key in FIDELITY_LABELS else _words(key)}</th>"
        f"<td>{_percent(value) if key in FRACTIONS else _number(value)}</td></tr>"
        for key, value in fidelity.items()
    ]
    return (
        "<section><h2>The student against its teacher</h2>"
        f'<table class="wrap"><tbody>{"".join(rows)}</tbody></table>'
        '<p class="note">What you see: how closely the small exported policy follows the one it was distilled from.'
        "</p></section>"
    )


def _footer(lineage: Mapping[str, Any]) -> str:
    entries = "".join(f"<dt>{_words(key)}</dt><dd>{_text(value)}</dd>" for key, value in lineage.items())
    return f"<footer><h2>Where this comes from</h2><dl>{entries}</dl></footer>"


def _with_interval(summary: Mapping[str, Any], factor: float = 1.0, unit: str = "") -> str:
    interval = bracketed(summary["interval"], lambda bound: _score(factor * bound))
    return f"{_score(factor * summary['mean'])}{unit}<small>{interval}</small>"


def _text(value: Any) -> str:
    """Any value as escaped text: mappings with dots between, sequences with commas, numbers ungrouped (seeds)."""
    if isinstance(value, Mapping):
        return " · ".join(f"{_words(key)} {_text(item)}" for key, item in value.items()) or ABSENT
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(item) for item in value) or ABSENT
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.10g}" if isinstance(value, float) else escape(str(value))


def _words(key: object) -> str:
    return escape(str(key).replace("_", " "))


def _score(value: float) -> str:
    """A measured score: one decimal, none from a thousand on."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1f}"


def _exact(value: float) -> str:
    """A published figure as it is printed."""
    return f"{value:,.10g}"


def _number(value: float) -> str:
    """A count in full, any other measure to four significant digits."""
    if not math.isfinite(value):
        return ABSENT
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"


def _percent(fraction: float) -> str:
    return f"{_score(100 * fraction)} %"


def _inert_json(value: Any) -> str:
    """JSON that no HTML parser can mistake for markup."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
