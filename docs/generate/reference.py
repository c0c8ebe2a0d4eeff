"""The parameter reference, from the typed models: JSON schema, docstrings, and the comments on their defaults."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import TypeAdapter

from meme57.config.fields import fields_of, group_in
from meme57.config.parameters import Parameters
from meme57.config.tuning import Dimension

HEAD = """# Every parameter

Made by `python docs/generate` from the typed models in `src/meme57/config`; a test holds it to them. How to set a
parameter, and what `conf/laptop` sets otherwise, is in [configuration](configuration.md).

The default applies if no file sets the parameter. It is the [specification](specification.md)'s. The last column is the
specification's word for the source of the number: paper, reported, inherited or ours. Parameters without a word belong
to the workflow, not to the agent.
"""
COLUMNS = "| parameter | type | default | allowed | meaning | source |\n|---|---|---|---|---|---|"


def page() -> str:
    """Write the whole of parameters.md; a parameter without a docstring is an error."""
    parts = [HEAD]
    for key, group in groups(Parameters):
        parts += [f"## {key}\n", f"{_first_line(group)}\n", COLUMNS, *_rows(group, key), ""]
    return "\n".join([*parts, "## One entry of tune.space\n", COLUMNS, *_rows(Dimension, "tune.space"), ""])


def groups(model: type) -> Iterator[tuple[str, type]]:
    """Yield the name and the model of every group in a model."""
    for name, field in fields_of(model).items():
        if isinstance(field.annotation, type) and (group := group_in(field.annotation)):
            yield field.alias or name, group


def _rows(model: type, prefix: str) -> Iterator[str]:
    schema = TypeAdapter(model).json_schema(by_alias=True)
    docstrings, comments = _written(model)
    inner = dict(groups(model))
    for name, field in fields_of(model).items():
        key = field.alias or name
        dotted = f"{prefix}.{key}"
        if key in inner:
            yield from _rows(inner[key], dotted)
            continue
        if (meaning := docstrings.get(name)) is None:
            raise SystemExit(f"{dotted} has no meaning: write a docstring below the field")
        cells = [*_kind(schema["properties"][key], field.annotation), meaning, comments.get(name, "")]
        default = "required" if key in schema.get("required", []) else _value(schema["properties"][key].get("default"))
        yield f"| `{dotted}` | {cells[0]} | {default} | {cells[1]} | {cells[2].replace('|', '/')} | {cells[3]} |"


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
    return "none" if value is None or value == [] else f"`{json.dumps(value)}`"


def _first_line(model: type) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]
