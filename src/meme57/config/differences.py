"""What differs between two configurations, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MOST_NAMED = 3
ABSENT = "not set"


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Dotted name to both values, where they differ; `not set` where one side lacks it."""
    old, new = dict(_flat(before)), dict(_flat(now))
    pairs = {name: (old.get(name, ABSENT), new.get(name, ABSENT)) for name in {**old, **new}}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def describe_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The first differing dotted names with both values: `env.game 'Pong', now 'Breakout'`; empty where none."""
    old, new = dict(_flat(before)), dict(_flat(now))
    names = list(differences(before, now))
    told = [f"{name} {_value(old, name)}, now {_value(new, name)}" for name in names[:MOST_NAMED]]
    if len(names) > MOST_NAMED:
        told.append(f"and {len(names) - MOST_NAMED} more")
    return "; ".join(told)


def _flat(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for key, value in tree.items():
        name = f"{prefix}{key}"
        flat += _flat(value, f"{name}.") if isinstance(value, Mapping) else [(name, value)]
    return flat


def _value(tree: Mapping[str, Any], name: str) -> str:
    return repr(tree[name]) if name in tree else ABSENT
