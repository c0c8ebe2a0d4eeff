"""Short labels of configurations, which a new parameter does not change while it has its old meaning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meme57.config.tree import flatten, without
from meme57.files import tree_digest

MEANT_BEFORE: dict[str, Any] = {
    "env.id": None,
    "env.wrappers": [],
    "env.observation_key": None,
    "network.mlp_sizes": [128, 128],
}
"""Dotted name of a parameter that is newer than commit fd8d2c1 -> the value that says what the code did before it.

A new parameter of learning, distillation or evaluation, and one that shapes a study's scores, must stand here; a test
holds it. So runs, suites, studies and seed replays from before it resume.
"""


def settled(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The tree without newer parameters that have their old meaning."""
    flat = flatten(tree)
    return without(tree, {name for name, value in MEANT_BEFORE.items() if name in flat and flat[name] == value})


def digest(tree: Mapping[str, Any]) -> str:
    """The label of a tree: twelve hexadecimal digits."""
    return short_hash(settled(tree))


def short_hash(value: Any) -> str:
    """The first twelve hexadecimal digits of the SHA-256 of `value` as JSON."""
    return tree_digest(value)[:12]
