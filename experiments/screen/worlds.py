"""Worlds whose true values are known, a closed loop for the whole agent: `worlds:Noise-v0` and `worlds:Choice-v0`."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Box, Discrete

NUM_STEPS = 1_000
NUM_ACTIONS = 18
SIZE = 32
CHANCE = 0.2
"""Chance of a reward of 1 or of -1, which no action changes."""
NUM_PLACES = 64
GAIN = 0.1


class Noise(gymnasium.Env[npt.NDArray[np.float32], np.int64]):
    """Each observation is new random numbers, and no action matters: all true values are 0."""

    observation_space = Box(-np.inf, np.inf, (SIZE,), np.float32)
    action_space = Discrete(NUM_ACTIONS)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[np.float32], dict[str, Any]]:
        """Begin an episode."""
        super().reset(seed=seed)
        return self._next(), {}

    def step(self, action: np.int64) -> tuple[npt.NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Reward by chance, and what the action earns."""
        reward = self._earned(int(action))
        if self.np_random.random() < CHANCE:
            reward += 1.0 if self.np_random.random() < 0.5 else -1.0
        return self._next(), reward, False, False, {}

    def _earned(self, action: int) -> float:
        return 0.0

    def _next(self) -> npt.NDArray[np.float32]:
        return np.asarray(self.np_random.standard_normal(SIZE, dtype=np.float32))


class Choice(Noise):
    """As `Noise`, in one of 64 places, each with an action that earns a tenth: the best play makes 100 an episode."""

    def __init__(self) -> None:
        fixed = np.random.default_rng(0)
        self._codes = fixed.standard_normal((NUM_PLACES, SIZE), dtype=np.float32)
        self._best = fixed.integers(NUM_ACTIONS, size=NUM_PLACES)
        self._place = 0

    def _earned(self, action: int) -> float:
        return GAIN * float(action == self._best[self._place])

    def _next(self) -> npt.NDArray[np.float32]:
        self._place = int(self.np_random.integers(NUM_PLACES))
        return np.asarray(self._codes[self._place])


for _world in (Noise, Choice):
    gymnasium.register(f"{_world.__name__}-v0", f"{__name__}:{_world.__name__}", max_episode_steps=NUM_STEPS)
