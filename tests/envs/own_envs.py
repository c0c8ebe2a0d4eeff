"""Environments and wrappers of a user's own, for the tests: importing this module registers them, as a package does."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, Tuple


class Counting(gymnasium.Env[Any, Any]):
    """Counts its steps; action 6 (the second of 5, 6, 7) ends it, after `limit` steps it is truncated by its spec."""

    observation_space: gymnasium.Space[Any] = Box(-np.inf, np.inf, (2,), np.float64)
    action_space = Discrete(3, start=5)
    metadata: ClassVar = {"render_modes": ["rgb_array"]}

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.time, self.drawn = 0, float(self.np_random.random())
        return self.observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.time += 1
        return self.observe(), float(action), action == 6, False, {}

    def observe(self) -> Any:
        return np.array([self.time, self.drawn])

    def render(self) -> Any:
        return np.full((40, 60, 3), self.time, np.uint8)


class Images(Counting):
    """A column of 40 x 60 pixels is white, in red alone."""

    observation_space = Box(0, 255, (40, 60, 3), np.uint8)

    def observe(self) -> Any:
        image = np.zeros((40, 60, 3), np.uint8)
        image[:, self.time, 0] = 255
        return image


class Dictionaries(Counting):
    """The vector is one entry of a dictionary."""

    observation_space = Dict({"numbers": Box(-np.inf, np.inf, (2,), np.float64), "which": Discrete(3)})

    def observe(self) -> Any:
        return {"numbers": super().observe(), "which": 1}


class Pairs(Counting):
    """A tuple, which no agent here reads."""

    observation_space = Tuple((Discrete(2), Discrete(2)))

    def observe(self) -> Any:
        return (0, 1)


class Broken(Counting):
    """Its observations become infinite."""

    def observe(self) -> Any:
        return np.array([0.0, np.inf if self.time else 0.0])


class Doubled(gymnasium.RewardWrapper):
    """A wrapper of a user's own."""

    def reward(self, reward: Any) -> Any:
        return 2 * reward


class Unmade(gymnasium.Wrapper):
    """A wrapper that cannot be made."""

    def __init__(self, env: Any) -> None:
        raise RuntimeError("it needs a licence")


for _kind in (Counting, Images, Dictionaries, Pairs, Broken):
    gymnasium.register(f"{_kind.__name__}-v0", entry_point=_kind, max_episode_steps=7)
