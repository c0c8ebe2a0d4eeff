"""What differs between two configurations, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meme57.config.tree import flatten

MOST_NAMED = 3
ABSENT = "not set"


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Dotted name to both values, where they differ; `not set` where one side lacks it."""
    old, new = flatten(before), flatten(now)
    pairs = {name: (old.get(name, ABSENT), new.get(name, ABSENT)) for name in {**old, **new}}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def describe_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The first differing dotted names with both values: `env.game 'Pong', now 'Breakout'`; empty where none."""
    old, new = flatten(before), flatten(now)
    names = list(differences(before, now))
    told = [f"{name} {_value(old, name)}, now {_value(new, name)}" for name in names[:MOST_NAMED]]
    if len(names) > MOST_NAMED:
        told.append(f"and {len(names) - MOST_NAMED} more")
    return "; ".join(told)


def _value(tree: Mapping[str, Any], name: str) -> str:
    return repr(tree[name]) if name in tree else ABSENT
