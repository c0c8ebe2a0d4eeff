"""The parameter reference, from the typed models: JSON schema, docstrings, and the comments on their defaults."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any, get_args

from pydantic import TypeAdapter

from meme57.config import load_parameters, parse_parameters
from meme57.config.fields import fields_of, group_in
from meme57.config.parameters import Parameters
from meme57.config.tree import flatten
from meme57.config.tuning import Dimension
from meme57.hooks.configuration import ProjectConfigLoader
from meme57.settings import CONFIG_LOADER_ARGS

HEAD = """# Every parameter

Made by `python docs/generate` from the typed models in `src/meme57/config`; a test holds it to them. How to set a
parameter is in [configuration](configuration.md).

The default applies if no file sets the parameter. It is the [specification](specification.md)'s. The columns `laptop`,
`gpu` and `paper` have what these presets set otherwise; an empty cell is the default. Below each row stand the meaning,
what is allowed, and the specification's word for the source of the number: paper, reported, inherited or ours.
Parameters without a word belong to the workflow, not to the agent. A name is a link to its own place on this page.
"""
PRESETS = ("laptop", "gpu", "paper")
OTHERWISE = dict[str, dict[str, Any]]
"""Preset -> dotted name -> value, where it is not the default."""


def page(conf: Path) -> str:
    """Write the whole of parameters.md; a parameter without a docstring is an error."""
    otherwise = {preset: set_otherwise(conf, preset) for preset in PRESETS}
    parts = [HEAD]
    for key, group in groups(Parameters):
        parts += [f"## {key}\n", f"{_first_line(group)}\n", *_table(group, key, otherwise), ""]
    return "\n".join([*parts, "## One entry of tune.space\n", *_table(Dimension, "tune.space", {}), ""])


def set_otherwise(conf: Path, preset: str) -> dict[str, Any]:
    """Read the parameters that a preset has otherwise than by default."""
    default, found = (
        flatten(of.model_dump(by_alias=True, mode="json")) for of in (parse_parameters({}), read_preset(conf, preset))
    )
    return {name: value for name, value in found.items() if name not in default or default[name] != value}


def read_preset(conf: Path, preset: str) -> Parameters:
    """Read the parameters of a preset."""
    return load_parameters(ProjectConfigLoader(str(conf), env=preset, **CONFIG_LOADER_ARGS))


def groups(model: type) -> Iterator[tuple[str, type]]:
    """Yield the name and the model of every group in a model."""
    for name, field in fields_of(model).items():
        if isinstance(field.annotation, type) and (group := group_in(field.annotation)):
            yield field.alias or name, group


def _table(model: type, prefix: str, otherwise: OTHERWISE) -> Iterator[str]:
    """HTML, since a table of Markdown has no cell below a row; without blank lines, which would end it."""
    columns = ("parameter", "type", "default", *otherwise)
    yield "<table>"
    yield f"<thead><tr>{''.join(f'<th>{column}</th>' for column in columns)}</tr></thead>"
    yield "<tbody>"
    yield from _rows(model, prefix, otherwise)
    yield "</tbody>"
    yield "</table>"


def _rows(model: type, prefix: str, otherwise: OTHERWISE) -> Iterator[str]:
    schema = TypeAdapter(model).json_schema(by_alias=True)
    docstrings, comments = _written(model)
    inner = dict(groups(model))
    for name, field in fields_of(model).items():
        key = field.alias or name
        dotted = f"{prefix}.{key}"
        if key in inner:
            yield from _rows(inner[key], dotted, otherwise)
            continue
        if (meaning := docstrings.get(name)) is None:
            raise SystemExit(f"{dotted} has no meaning: write a docstring below the field")
        kind, allowed = _kind(schema["properties"][key], field.annotation)
        default = "required" if key in schema.get("required", []) else _value(schema["properties"][key].get("default"))
        presets = [_value(values[dotted]) if dotted in values else "" for values in otherwise.values()]
        cells = [f'<a href="#{dotted}"><code>{dotted}</code></a>', *map(_html, (kind, default, *presets))]
        yield f'<tr id="{dotted}">{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        below = [_html(meaning), f"Allowed: {_html(allowed)}." if allowed else "", _html(_sentence(comments.get(name)))]
        yield f'<tr><td colspan="{len(cells)}">{" ".join(part for part in below if part)}</td></tr>'


def _html(text: str) -> str:
    """Escape the text; `code` becomes an element, since Markdown is not read inside a table of HTML."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text, quote=False))


def _sentence(source: str | None) -> str:
    return f"Source: {source}." if source else ""


def _written(model: type) -> tuple[dict[str, str], dict[str, str]]:
    """Read the docstring below each field, and the comment behind it; one mapping each."""
    source = inspect.getsource(model)
    lines = source.splitlines()
    body = ast.parse(source).body[0].body  # type: ignore[attr-defined]
    docstrings, comments = {}, {}
    for statement, following in zip(body, [*body[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign):
            continue
        name, end = statement.target.id, statement.end_col_offset  # type: ignore[union-attr]
        behind = lines[(statement.end_lineno or 1) - 1][end:].strip()
        if behind.startswith("#"):
            comments[name] = behind.removeprefix("#").strip()
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            docstrings[name] = " ".join(str(following.value.value).split())
    return docstrings, comments


def _kind(schema: dict[str, Any], annotation: Any) -> tuple[str, str]:
    """Describe type and bounds in words."""
    options = [part for part in schema.get("anyOf", [schema]) if part.get("type") != "null"]
    optional = len(options) < len(schema.get("anyOf", [schema]))
    plain = [_plain(option) for option in options]
    kind, bounds = " or ".join(kind for kind, _ in plain), ", ".join(bounds for _, bounds in plain if bounds)
    return f"{kind} or null" if optional and type(None) in get_args(annotation) else kind, bounds


def _plain(schema: dict[str, Any]) -> tuple[str, str]:
    if "enum" in schema or "const" in schema:
        return "choice", ", ".join(f"`{choice}`" for choice in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        items = schema.get("prefixItems", [schema.get("items", {})])
        kind, bounds = _plain(items[0])
        size = f"{len(items)} of " if "prefixItems" in schema else "list of "
        return f"{size}{kind}", f"each {bounds}" if bounds else ""
    names = {"integer": "int", "number": "float", "boolean": "bool", "string": "text", "object": "mapping"}
    kind = "mapping" if "$ref" in schema else names.get(schema.get("type", ""), "any")
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [
        f"{sign} {schema[key]:,g}" if schema[key] < 1e6 else f"{sign} {schema[key]:,}"
        for key, sign in signs.items()
        if key in schema
    ]
    if "pattern" in schema:
        bounds.append("letters, digits, `.`, `_`, `-`")
    return kind, ", ".join(bounds)


def _value(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return f"{len(value)} entries"
    return "none" if value is None or value == [] else f"`{json.dumps(value)}`"


def _first_line(model: type) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]
