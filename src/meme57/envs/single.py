"""One environment with raw observations, as Gymnasium has them, and the agent's frame of such an observation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Box, Discrete

from meme57.envs.frames import to_frames
from meme57.envs.gymnasium_env import limited
from meme57.envs.make import make_env
from meme57.envs.spec import EnvSpec
from meme57.errors import EnvironmentSetupError

RawEnv = gymnasium.Env[Any, Any]
SCREEN = (210, 160)
"""Height and width of ALE's."""


def raw_env(spec: EnvSpec, *, on_reset: Callable[[], None], on_step: Callable[[float], None]) -> RawEnv:
    """Make the game of the spec, with its whole protocol and raw observations.

    An Atari game shows its screen in colour, a built-in small game the agent's picture, and an environment of
    Gymnasium what it shows through its wrappers. `on_reset` and `on_step` hear of each reset and each reward.
    """
    env = SingleGame(spec) if spec.gymnasium is None else _FromZero(limited(spec, picture=False))
    return _Heard(env, on_reset, on_step)


def agent_frame(spec: EnvSpec, observation: Any) -> npt.NDArray[Any]:
    """Turn a raw observation into the agent's frame [1, H, W].

    Raises:
        EnvironmentSetupError: it is neither an image nor a vector of the length that the agent knows.
    """
    key = None if spec.gymnasium is None else spec.gymnasium.observation_key
    if key is not None and isinstance(observation, Mapping):
        observation = observation[key]
    raw = np.asarray(observation)
    is_image = raw.dtype == np.uint8 and (raw.ndim == 2 or (raw.ndim == 3 and raw.shape[-1] in (1, 3)))
    if spec.frame_dtype == "uint8" and not is_image:
        raise EnvironmentSetupError(
            f"an observation is {raw.dtype} {list(raw.shape)}: the policy of {spec.game} sees uint8 images, "
            "H x W, H x W x 1 or H x W x 3"
        )
    if spec.frame_dtype != "uint8" and raw.shape != (spec.width,):
        raise EnvironmentSetupError(
            f"an observation has the shape {list(raw.shape)}: the policy of {spec.game} sees {spec.width} numbers"
        )
    return to_frames(raw[None], height=spec.height, width=spec.width, dtype=spec.frame_dtype)


class SingleGame(gymnasium.Env[Any, Any]):
    """One Atari game, or one built-in small game."""

    def __init__(self, spec: EnvSpec) -> None:
        shown = replace(spec, height=SCREEN[0], width=SCREEN[1]) if spec.has_protocols else spec
        self._env = make_env(shown, num_envs=1, colour=True)
        self.action_space = Discrete(spec.num_actions)
        shape = (*SCREEN, 3) if spec.has_protocols else spec.frame_shape
        self.observation_space = Box(0, 255, shape, np.uint8)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[np.uint8], dict[str, Any]]:
        """Begin an episode; without a seed, one is drawn from the stream of the last seed that was given."""
        super().reset(seed=seed)
        drawn = int(self.np_random.integers(2**30)) if seed is None else seed
        return self._env.reset(seed=drawn)[0], {}

    def step(self, action: int) -> tuple[npt.NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        """Play one agent step; after an end `reset` must follow."""
        result = self._env.step(np.array([action]))
        ends = bool(result.terminated[0]), bool(result.truncated[0])
        return result.observation[0], float(result.reward[0]), *ends, {}

    def close(self) -> None:
        """Close the emulator."""
        self._env.close()


class _FromZero(gymnasium.ActionWrapper[Any, Any, Any]):
    """Takes actions counted from 0, as a policy gives them, wherever those of the environment begin."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        assert isinstance(env.action_space, Discrete)
        self._first = int(env.action_space.start)
        self.action_space = Discrete(int(env.action_space.n))

    def action(self, action: int) -> int:
        return int(action) + self._first


class _Heard(gymnasium.Wrapper[Any, Any, Any, Any]):
    def __init__(
        self, env: gymnasium.Env[Any, Any], on_reset: Callable[[], None], on_step: Callable[[float], None]
    ) -> None:
        super().__init__(env)
        self._on_reset, self._on_step = on_reset, on_step

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        self._on_reset()
        return self.env.reset(**arguments)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._on_step(float(reward))
        return observation, reward, terminated, truncated, info
