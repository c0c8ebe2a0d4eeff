"""What an environment of conf/ must say itself, since what it leaves out is the laptop's."""

from __future__ import annotations

from pathlib import Path

import pytest

from meme57.config import parse_parameters
from meme57.hooks.configuration import ProjectConfigLoader
from meme57.settings import CONFIG_LOADER_ARGS

CONF = Path(__file__).parents[2] / "conf"


@pytest.mark.parametrize(("env", "enabled"), [("base", False), ("gpu", True), ("paper", True), ("ladder", True)])
def test_the_bandit_is_left_out_on_the_laptop_alone(env: str, enabled: bool) -> None:
    loader = ProjectConfigLoader(str(CONF), env=env, **CONFIG_LOADER_ARGS)
    assert parse_parameters(loader["parameters"]).bandit.enabled is enabled
