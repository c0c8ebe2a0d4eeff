"""The parameters of an environment of this checkout."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from meme57.config import Parameters, load_parameters, parse_parameters
from meme57.config.tree import assign
from meme57.hooks.configuration import ProjectConfigLoader
from meme57.settings import CONFIG_LOADER_ARGS

ROOT = Path(__file__).parents[1]


def preset(environment: str, **groups: dict[str, Any]) -> Parameters:
    """Load the environment's parameters, with the values of some groups replaced."""
    conf = str(ROOT / "conf")
    return load_parameters(ProjectConfigLoader(conf, env=environment, runtime_params=groups, **CONFIG_LOADER_ARGS))


def with_settings(parameters: Parameters, values: dict[str, Any], settings: Iterable[str]) -> Parameters:
    """Replace values by their names; `settings` are more of them, as a person types them: `NAME=VALUE`."""
    typed = {name: yaml.safe_load(value) for name, _, value in (setting.partition("=") for setting in settings)}
    return parse_parameters(assign(parameters.tree(), values | typed))
