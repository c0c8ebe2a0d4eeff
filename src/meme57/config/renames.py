"""Names that changed: what earlier versions wrote, and what was typed for them, is still read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PARAMETERS = {"evaluate.favourite": "evaluate.bandit_policy"}
"""Earlier dotted name of a parameter -> its name now, in the same group."""
EARLIER_PARAMETERS = {now: earlier for earlier, now in PARAMETERS.items()}
AGENTS = {"favourite": "bandit_policy"}
"""Earlier name of an agent that `evaluate` scores -> its name now."""
FACTS = {"favourite_policy": "bandit_policy"}
"""Earlier key of a fact about an evaluation -> its key now."""
ALWAYS_SCORED = "teacher"
"""A mapping with this key maps agents to something."""


def renamed(tree: Mapping[str, Any], names: Mapping[str, str], prefix: str = "") -> dict[str, Any]:
    """Copy the nested tree with other dotted names; if both names of a parameter are there, the new one counts."""
    copied: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        new = names[name].rpartition(".")[2] if name in names else key
        if new == key or new not in tree:
            copied[new] = renamed(value, names, f"{name}.") if isinstance(value, Mapping) else value
    return copied


def with_todays_agents(value: Any) -> Any:
    """Copy a value from JSON; agents and facts of an evaluation get their names of today."""
    if isinstance(value, list):
        return [with_todays_agents(item) for item in value]
    if not isinstance(value, dict):
        return value
    names = {**FACTS, **AGENTS} if ALWAYS_SCORED in value else FACTS
    copied = {names.get(key, key): with_todays_agents(item) for key, item in value.items()}
    if isinstance(agent := copied.get("agent"), str):
        copied["agent"] = AGENTS.get(agent, agent)
    return copied
