"""The exploration game of our own: two minutes of CPU to solve with an intrinsic reward, hopeless without."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from meme57.envs.spec import EnvSpec, StepResult

CELLS_A_SIDE = 4
LENGTH = 11
ACTIONS = ("ONE", "TWO", "THREE", "FOUR")
MAX_EPISODE_STEPS = 4 * LENGTH
_FORWARD = np.random.default_rng(57).integers(len(ACTIONS), size=LENGTH)


class CorridorEnv:
    """A corridor of 11 steps, folded into a picture of 4 x 4 cells, with a reward of 1 at its far end alone.

    In each cell one of four actions, another from cell to cell but always the same, leads forward; the others lead
    one cell back. A random walk drifts back with probability 3/4 a step and reaches the end within an episode's 44
    steps with probability 5.1e-5; a constant action never does. New cells within an episode are novel, so the episodic
    reward pays for every step forward.
    """

    def __init__(self, spec: EnvSpec, *, num_envs: int) -> None:
        self.spec = spec
        self.num_envs = num_envs
        self._position = np.zeros(num_envs, dtype=np.int64)
        self._time = np.zeros(num_envs, dtype=np.int64)
        self._ended = np.zeros(num_envs, dtype=np.bool_)
        self._pictures = _pictures(spec.height, spec.width)

    def reset(self, *, seed: int) -> npt.NDArray[np.uint8]:
        """Observations [E, H, W]; the game has no randomness, so the seed changes nothing."""
        self._position[:] = 0
        self._time[:] = 0
        self._ended = np.zeros(self.num_envs, dtype=np.bool_)
        return self._pictures[self._position]

    def send(self, actions: npt.NDArray[np.int64]) -> None:
        """Actions [E]."""
        self._actions = actions

    def receive(self) -> StepResult:
        """What the actions sent led to."""
        actions = self._actions
        is_reset = self._ended
        forward = actions == _FORWARD[np.minimum(self._position, LENGTH - 1)]
        moved = np.clip(self._position + np.where(forward, 1, -1), 0, LENGTH)
        self._position = np.where(is_reset, 0, moved)
        self._time = np.where(is_reset, 0, self._time + 1)
        terminated = ~is_reset & (self._position == LENGTH)
        truncated = ~is_reset & ~terminated & (self._time * self.spec.frame_skip >= self.spec.max_episode_frames)
        self._ended = terminated | truncated
        reward = terminated.astype(np.float32)
        return StepResult(self._pictures[self._position], reward, terminated, truncated, is_reset)

    def step(self, actions: npt.NDArray[np.int64]) -> StepResult:
        """One step of each environment; actions [E]."""
        self.send(actions)
        return self.receive()

    def close(self) -> None:
        """Nothing to free."""


def corridor_max_frames(frame_skip: int, max_episode_frames: int) -> int:
    """An episode lasts 44 steps, or the protocol's limit if that is shorter."""
    return min(MAX_EPISODE_STEPS * frame_skip, max_episode_frames)


def _pictures(height: int, width: int) -> npt.NDArray[np.uint8]:
    """One picture a cell: the visited cell is white.  [LENGTH + 1, H, W]."""
    pictures = np.zeros((LENGTH + 1, height, width), dtype=np.uint8)
    rows, columns = height // CELLS_A_SIDE, width // CELLS_A_SIDE
    for cell in range(LENGTH + 1):
        row, column = divmod(cell, CELLS_A_SIDE)
        pictures[cell, row * rows : (row + 1) * rows, column * columns : (column + 1) * columns] = 255
    return pictures
