"""Render pages from the templates in this folder. Jinja escapes every value; filters here turn values into words.

A page is one file that loads nothing: it contains plotly.js, figures and film, and its content security policy forbids
every request.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from meme57.report.style import TITLE_HEIGHT, agent_label

ABSENT = "–"


def render_page(template: str, figures: Mapping[str, Any], captions: Mapping[str, str], **values: Any) -> str:
    """Render the page as text; its `plots` are the Plotly `figures` in order, each with the caption of its name."""
    from plotly.offline import get_plotlyjs

    plain = {name: json.loads(figure.to_json()) for name, figure in figures.items()}
    plots = [
        {"name": name, "title": _take_title(figure["layout"]), "caption": captions[name]}
        for name, figure in plain.items()
    ]
    return _ENVIRONMENT.get_template(template).render(plotly=get_plotlyjs(), figures=plain, plots=plots, **values)


def _take_title(layout: dict[str, Any]) -> str:
    """Take the title out of a figure; the page shows it as a heading, which wraps on a phone."""
    layout["margin"]["t"] -= TITLE_HEIGHT
    layout["height"] -= TITLE_HEIGHT
    title: str = layout.pop("title")["text"]
    return title


def text(value: Any) -> str:
    """Write any value in words: mappings joined by dots, sequences by commas, numbers ungrouped (seeds)."""
    if isinstance(value, Mapping):
        return " · ".join(f"{words(key)} {text(item)}" for key, item in value.items()) or ABSENT
    if isinstance(value, (list, tuple)):
        return ", ".join(text(item) for item in value) or ABSENT
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def words(key: object) -> str:
    """Replace underscores: `max_pool` becomes `max pool`."""
    return str(key).replace("_", " ")


def score(value: float) -> str:
    """Format a measured score: one decimal, none from 1000 on."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1f}"


def exact(value: float) -> str:
    """Format a published number exactly."""
    return f"{value:,.10g}"


def number(value: float) -> str:
    """Format a count in full, any other number to four significant digits."""
    if not math.isfinite(value):
        return ABSENT
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"


def signed(value: float) -> str:
    """Format a difference with its sign: two decimals."""
    return f"{value:+.2f}"


def percent(fraction: float) -> str:
    """Format a fraction as a percentage."""
    return f"{score(100 * fraction)} %"


_ENVIRONMENT = Environment(
    loader=PackageLoader("meme57.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_FILTERS = (text, words, agent_label, score, exact, number, signed, percent)
_ENVIRONMENT.filters |= {form.__name__: form for form in _FILTERS}
_ENVIRONMENT.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
