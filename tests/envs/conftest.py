"""Specs of real games with small frames; environments are closed at the end of a test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from meme57.config.groups import EnvParameters
from meme57.envs import EnvSpec, VectorEnv, env_spec, make_env


def build_spec(game: str, **settings: Any) -> EnvSpec:
    return env_spec(EnvParameters(game=game, **{"height": 24, "width": 20, **settings}))


@pytest.fixture(scope="session")
def make_spec() -> Callable[..., EnvSpec]:
    return build_spec


@pytest.fixture(name="open_env")
def _open_env(request: pytest.FixtureRequest) -> Callable[..., VectorEnv]:
    def open_env(game: str, num_envs: int = 2, **settings: Any) -> VectorEnv:
        env = make_env(build_spec(game, **settings), num_envs=num_envs)
        request.addfinalizer(env.close)
        return env

    return open_env
