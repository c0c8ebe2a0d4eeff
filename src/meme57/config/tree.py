"""Dotted names in a nested tree of parameters."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any


def assign(tree: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the nested tree with the dotted names set."""
    changed: dict[str, Any] = copy.deepcopy(dict(tree))
    for name, value in values.items():
        *path, last = name.split(".")
        group = changed
        for part in path:
            group = group[part]
        group[last] = value
    return changed


def look_up(tree: Mapping[str, Any], name: str) -> Any:
    """The value of a dotted name that exists."""
    value: Any = tree
    for part in name.split("."):
        value = value[part]
    return value
