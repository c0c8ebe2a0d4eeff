"""A nested tree of parameters, and the dotted names in it."""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Mapping
from typing import Any


def assign(tree: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Copy the nested tree with the dotted names set."""
    changed: dict[str, Any] = copy.deepcopy(dict(tree))
    for name, value in values.items():
        *path, last = name.split(".")
        group = changed
        for part in path:
            group = group[part]
        group[last] = value
    return changed


def look_up(tree: Mapping[str, Any], name: str) -> Any:
    """Look up the value of a dotted name that exists."""
    value: Any = tree
    for part in name.split("."):
        value = value[part]
    return value


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Map each dotted name to its value; an empty mapping is a value."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        flat |= flatten(value, f"{name}.") if isinstance(value, Mapping) and value else {name: value}
    return flat


def without(tree: Mapping[str, Any], names: Collection[str], prefix: str = "") -> dict[str, Any]:
    """Copy the nested tree without the dotted names."""
    return {
        key: without(value, names, f"{prefix}{key}.") if isinstance(value, Mapping) else value
        for key, value in tree.items()
        if f"{prefix}{key}" not in names
    }


def plain(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tree as JSON reads it back; infinity is text."""
    read: dict[str, Any] = json.loads(json.dumps(tree), parse_constant=str)
    return read
