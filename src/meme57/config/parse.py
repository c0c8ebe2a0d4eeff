"""Turn a nested mapping into typed parameters, or into one line that says what to type instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from meme57.config.fields import fields_of, group_in
from meme57.config.parameters import Parameters
from meme57.config.renames import PARAMETERS, renamed
from meme57.errors import ConfigurationError

LONGEST_VALUE = 200


def parse_parameters(tree: dict[str, Any]) -> Parameters:
    """Validate a nested mapping.

    Raises:
        ConfigurationError: one line for the first fault: the dotted name, the value, and what to type instead.
    """
    try:
        return Parameters.model_validate(renamed(tree, PARAMETERS))
    except ValidationError as error:
        raise ConfigurationError(_one_line(error)) from None


def load_parameters(loader: Mapping[str, Any]) -> Parameters:
    """Load the whole tree through Kedro's configuration loader, and validate it.

    Raises:
        ConfigurationError: one line for the first fault.
    """
    try:
        tree = loader["parameters"]
    except ConfigurationError:
        raise
    except Exception as error:  # the YAML reader and the resolvers raise errors without a common base class
        words = " ".join(str(error).split())
        raise ConfigurationError(f"the parameters cannot be read: {words}") from error
    return parse_parameters(tree)


def _one_line(error: ValidationError) -> str:
    fault = error.errors()[0]
    path = [str(part) for part in fault["loc"]]
    name = ".".join(path)
    if fault["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        near = difflib.get_close_matches(path[-1], _known_keys(path[:-1]), n=1, cutoff=0.5)
        where = ".".join([*path[:-1], near[0]]) if near else None
        hint = f"did you mean {where}?" if where else f"known here: {', '.join(_known_keys(path[:-1]))}."
        return f"unknown parameter {name}: {hint}"
    if fault["type"] == "value_error":
        return re.sub(r"^Value error, ", "", fault["msg"])
    if fault["type"] == "string_type" and isinstance(fault["input"], bool | int | float):
        return _to_be_quoted(path, fault["input"])
    if fault["type"] == "string_pattern_mismatch":
        return f"{name}={_short(fault['input'])} is not possible: {_allowed(fault['ctx']['pattern'])}."
    return f"{name}={_short(fault['input'])} is not possible: {fault['msg'][0].lower()}{fault['msg'][1:]}."


def _to_be_quoted(path: list[str], value: float) -> str:
    """Ask for quotes: YAML reads `007` as 7 and `yes` as true, and what was typed is lost."""
    kind = "true or false" if isinstance(value, bool) else "a number"
    if path[-1] == "[key]":
        return f"{'.'.join(path[:-2])}: the name {value} was read as {kind}: write '{value}', with quotes"
    name = ".".join(path)
    return f"{name}={value} was read as {kind}, not as text: quote what you mean, --params \"{name}='{value}'\""


def _allowed(pattern: str) -> str:
    """Describe what a name's pattern allows."""
    signs = ", `.`, `_` and `-`" if "._-" in pattern else " and `_`"
    most = int(re.findall(r"\{0,(\d+)\}", pattern)[-1]) + 1
    return f"letters, digits{signs}, a letter or digit first, {most} at most"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


def _known_keys(path: list[str]) -> list[str]:
    group: type = Parameters
    for part in path:
        named = [field for key, field in fields_of(group).items() if part in (key, field.alias)]
        group = next((inner for field in named if (inner := group_in(field.annotation))), group)
    return [field.alias or key for key, field in fields_of(group).items()]
