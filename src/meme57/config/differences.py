"""What differs between two configurations, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meme57.config.tree import flatten

MOST_NAMED = 3
ABSENT = "not set"


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Map each dotted name that differs to both values; `not set` stands for a value that one side lacks."""
    old, new = flatten(before), flatten(now)
    pairs = {name: (old.get(name, ABSENT), new.get(name, ABSENT)) for name in {**old, **new}}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def describe_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Describe the first differences: `env.game 'Pong', now 'Breakout'`; empty if there are none."""
    old, new = flatten(before), flatten(now)
    names = list(differences(before, now))
    described = [f"{name} {_value(old, name)}, now {_value(new, name)}" for name in names[:MOST_NAMED]]
    if len(names) > MOST_NAMED:
        described.append(f"and {len(names) - MOST_NAMED} more")
    return "; ".join(described)


def _value(tree: Mapping[str, Any], name: str) -> str:
    return repr(tree[name]) if name in tree else ABSENT
