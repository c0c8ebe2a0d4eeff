"""Games as tables: small built-in deterministic games, stepped as vectors, whose odds can be computed exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from meme57.envs.spec import EnvSpec, StepResult, VectorEnv


@dataclass(frozen=True)
class Table:
    """A deterministic game with S states, starting in state 0, and A actions."""

    actions: tuple[str, ...]
    following: npt.NDArray[np.int64]  # [S, A] the state that a step leads to
    reward: npt.NDArray[np.float32]  # [S, A]
    terminal: npt.NDArray[np.bool_]  # [S, A] the step ends the episode
    max_steps: int
    """An episode that lasts this long is truncated."""
    grid: npt.NDArray[np.uint8]  # [S, rows, columns] one shade per cell

    def pictures(self, height: int, width: int) -> npt.NDArray[np.uint8]:
        """Draw each state [S, H, W]: every cell is a block of pixels, black where the grid does not reach."""
        states, rows, columns = self.grid.shape
        pictures = np.zeros((states, height, width), dtype=np.uint8)
        blocks = self.grid.repeat(height // rows, axis=1).repeat(width // columns, axis=2)
        pictures[:, : blocks.shape[1], : blocks.shape[2]] = blocks
        return pictures


class TabularEnv(VectorEnv):
    """E copies of a tabular game; it has no randomness."""

    def __init__(self, table: Table, spec: EnvSpec, *, num_envs: int) -> None:
        self.spec = spec
        self.num_envs = num_envs
        self.state = np.zeros(num_envs, dtype=np.int64)  # [E]
        self._table = table
        self._pictures = table.pictures(spec.height, spec.width)
        self._time = np.zeros(num_envs, dtype=np.int64)
        self._ended = np.zeros(num_envs, dtype=np.bool_)

    def reset(self, *, seed: int) -> npt.NDArray[np.uint8]:
        """Reset all environments and return observations [E, H, W]; the seed changes nothing."""
        self.state[:] = 0
        self._time[:] = 0
        self._ended = np.zeros(self.num_envs, dtype=np.bool_)
        return self._pictures[self.state]

    def send(self, actions: npt.NDArray[np.int64]) -> None:
        """Send actions [E]."""
        self._actions = actions

    def receive(self) -> StepResult:
        """Return the result of the actions sent."""
        is_reset, taken = self._ended, (self.state, self._actions)
        reward = np.where(is_reset, np.float32(0), self._table.reward[taken])
        terminated = ~is_reset & self._table.terminal[taken]
        self.state = np.where(is_reset, 0, self._table.following[taken])
        self._time = np.where(is_reset, 0, self._time + 1)
        limit = self.spec.max_episode_frames
        truncated = ~is_reset & ~terminated & (self._time * self.spec.frame_skip >= limit)
        self._ended = terminated | truncated
        return StepResult(
            self._pictures[self.state], reward, terminated, truncated, is_reset, life_lost=np.zeros_like(is_reset)
        )

    def close(self) -> None:
        """Do nothing: there is nothing to close."""


def success_probability(table: Table, policy: npt.NDArray[np.float64]) -> float:
    """Compute the exact probability that an episode earns a reward above zero.

    Args:
        policy: [S, A] the probability of each action in each state.
    """
    here = np.zeros(len(policy))
    here[0] = 1.0
    succeeded = 0.0
    for _ in range(table.max_steps):
        flow = here[:, None] * policy
        success = table.reward > 0
        succeeded += float(flow[success].sum())
        continues = ~success & ~table.terminal
        here = np.zeros(len(policy))
        np.add.at(here, table.following[continues], flow[continues])
    return succeeded
