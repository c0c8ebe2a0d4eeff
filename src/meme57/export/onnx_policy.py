"""Play the exported student with ONNX Runtime only: no PyTorch weights are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from meme57.envs import EnvSpec, StepResult
from meme57.errors import CheckpointError, Meme57Error
from meme57.export.onnx import INSTALL, open_runtime, run_step
from meme57.export.steps import INPUTS, OUTPUTS
from meme57.learning.policies import Choice


def open_session(path: Path) -> Any:
    """Open an ONNX Runtime session of a student on one CPU thread.

    Raises:
        Meme57Error: onnxruntime is not installed or does not work, or the file is missing, damaged or not a student.
    """
    if not path.is_file():
        raise Meme57Error(f"{path} is missing: `kedro run --pipelines distill` writes it, with the extra ({INSTALL})")
    session = open_runtime(path)
    names = tuple(entry.name for entry in session.get_inputs()), tuple(entry.name for entry in session.get_outputs())
    if names != (INPUTS, OUTPUTS):
        raise Meme57Error(f"{path} is no student: its inputs are {', '.join(names[0])}, not {', '.join(INPUTS)}")
    return session


class OnnxStudent:
    """A `Policy` that chooses by the exported student's logits.

    Args:
        temperature: of the draws from softmax(logits / temperature); 0: the best actions.
    """

    def __init__(self, path: Path, num_envs: int, *, temperature: float = 0.0) -> None:
        self._session, self._num_envs = open_session(path), num_envs
        self._choose = Choice(temperature)
        self._num_actions = int(self._session.get_outputs()[0].shape[1])
        self._size = int(self._session.get_inputs()[3].shape[2])
        self._frame = tuple(self._session.get_inputs()[0].shape[1:])
        self._path = path

    def check_fits(self, env: EnvSpec) -> None:
        """Raise `CheckpointError` if the file was made for another game."""
        if (*self._frame, self._num_actions) != (env.height, env.width, env.num_actions):
            raise CheckpointError(
                f"{self._path} was made for frames of {self._frame} and {self._num_actions} actions, the game beside "
                f"it has {(env.height, env.width)} and {env.num_actions}: `kedro run --pipelines distill` makes both"
            )

    def begin(self, observation: npt.NDArray[np.uint8]) -> None:
        """Start new episodes."""
        self._observation = observation
        self._actions = np.full(self._num_envs, self._num_actions, np.int64)
        self._rewards = np.zeros(self._num_envs, np.float32)
        self._state = np.zeros((2, self._num_envs, self._size), np.float32)

    def act(self) -> npt.NDArray[np.int64]:
        """Return actions [E]."""
        feed = (self._observation, self._actions, self._rewards, self._state)
        logits, self._state = run_step(self._session, dict(zip(INPUTS, feed, strict=True)))
        return self._choose(logits)

    def observe(self, actions: npt.NDArray[np.int64], result: StepResult) -> None:
        """Observe the result of the actions."""
        self._observation, self._rewards = result.observation, result.reward
        self._actions = np.where(result.is_reset, self._num_actions, actions)
        self._state[:, result.is_reset] = 0.0
