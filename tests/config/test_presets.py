"""Each environment means what it meant at commit c8d2015, whose values stand in tests/data/environments.json.

But for the laptop's game, which was Ms. Pac-Man then, its frames and checkpoints, and the updates of a student: another
game is another run name, and the others are no part of a run's identity. Since 2026-11-30 a lost life is an end for the
laptop's agent and those that extend it, but for `games`; and advantage learning widens the gaps between actions for the
laptop's agent, the suites', and the tests'.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from meme57.config import Parameters, parse_parameters
from presets import ROOT, preset

THEN: dict[str, dict[str, Any]] = json.loads((ROOT / "tests" / "data" / "environments.json").read_text())
DEFAULTS = THEN.pop("defaults")


def values(parameters: Parameters) -> dict[str, Any]:
    return {f"{group}.{name}": value for group, fields in parameters.tree().items() for name, value in fields.items()}


@pytest.mark.parametrize("env", THEN)
def test_an_environment_has_the_values_that_it_had(env: str) -> None:
    """A parameter that is newer has its default. So fingerprints are the same, and old runs resume."""
    assert values(preset(env)) == {**values(parse_parameters({})), **DEFAULTS, **THEN[env]}


def test_no_environment_is_gone() -> None:
    there = {path.parent.name for place in ("conf", "experiments") for path in (ROOT / place).glob("*/parameters.yml")}
    assert set(THEN) <= there


def test_base_is_the_agent_of_the_paper() -> None:
    """Every default, but for how a study searches, which shapes no run."""
    defaults = {**values(parse_parameters({})), **DEFAULTS}
    changed = {name for name, value in values(preset("base")).items() if value != defaults[name]}
    assert changed == {"tune.pruner", "tune.space"}


@pytest.mark.parametrize(("env", "largest"), [("gpu", 8), ("paper", 7)])
def test_what_is_the_papers_is_not_written_again(env: str, largest: int) -> None:
    changed = {name for name, value in values(preset(env)).items() if value != values(preset("base"))[name]}
    assert len(changed) == largest


@pytest.mark.parametrize(("env", "enabled"), [("laptop", False), ("gpu", True), ("paper", True), ("ladder", True)])
def test_the_bandit_is_left_out_on_the_laptop_alone(env: str, enabled: bool) -> None:
    assert preset(env).bandit.enabled is enabled
