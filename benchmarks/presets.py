"""The parameters of an environment of this checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from meme57.config import Parameters, load_parameters
from meme57.hooks.configuration import ProjectConfigLoader
from meme57.settings import CONFIG_LOADER_ARGS

ROOT = Path(__file__).parents[1]


def preset(environment: str, **groups: dict[str, Any]) -> Parameters:
    """Load the environment's parameters, with the values of some groups replaced."""
    conf = str(ROOT / "conf")
    return load_parameters(ProjectConfigLoader(conf, env=environment, runtime_params=groups, **CONFIG_LOADER_ARGS))
