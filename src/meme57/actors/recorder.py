"""Cuts the steps of E environments into chunks: one replay period of one episode each."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from meme57.actors.player import empty_inputs
from meme57.replay.chunks import Chunk, StepInputs
from meme57.replay.codec import compress_frames


class ChunkRecorder:
    """Collects steps in preallocated arrays, one open chunk per environment, and returns finished chunks."""

    def __init__(
        self,
        *,
        actor: int,
        num_envs: int,
        period: int,
        frame_shape: tuple[int, int],
        frame_dtype: str = "uint8",
        lstm_size: int,
        embedding_size: int,
    ) -> None:
        self._actor, self._period = actor, period
        self._rows = np.arange(num_envs)
        self._frames = np.zeros((num_envs, period + 1, *frame_shape), frame_dtype)
        self._state = np.zeros((2, num_envs, lstm_size), np.float32)
        self._first = empty_inputs((num_envs,), embedding_size)
        self._steps = empty_inputs((num_envs, period), embedding_size)
        self._mu = np.zeros((num_envs, period), np.float32)
        self._version = np.zeros(num_envs, np.int64)
        self._used = np.zeros(num_envs, np.int64)
        self._index = np.zeros(num_envs, np.int64)
        self._episode = np.zeros(num_envs, np.int64)

    def begin_episodes(self, which: npt.NDArray[np.bool_], episodes: npt.NDArray[np.int64]) -> None:
        """Begin the episode of the given number in environments where `which` is True."""
        self._episode = np.where(which, episodes, self._episode)
        self._index[which] = 0
        self._used[which] = 0

    @property
    def opens_chunks(self) -> bool:
        """Whether some environment begins a chunk at the next step, so that `before_step` must be called."""
        return bool((self._used == 0).any())

    def before_step(
        self, observation: npt.NDArray[Any], inputs: StepInputs, state: npt.NDArray[np.float32], version: int
    ) -> None:
        """Store the first observation, inputs and state of new chunks.  observation [E, H, W], state [2, E, H]."""
        opening = np.flatnonzero(self._used == 0)
        self._frames[opening, 0] = observation[opening]
        self._state[:, opening] = state[:, opening]
        self._version[opening] = version
        for name, value in inputs._asdict().items():
            getattr(self._first, name)[opening] = value[opening]

    def after_step(
        self,
        stepped: npt.NDArray[np.bool_],
        observation: npt.NDArray[Any],
        outcome: StepInputs,
        mu: npt.NDArray[np.float32],
    ) -> None:
        """Append the step of every environment where `stepped` is True; `outcome` [E] is the record of the step."""
        rows = self._rows[stepped]
        at = self._used[stepped]
        self._frames[rows, at + 1] = observation[stepped]
        for name, value in outcome._asdict().items():
            getattr(self._steps, name)[rows, at] = value[stepped]
        self._mu[rows, at] = mu[stepped]
        self._used[stepped] += 1

    def finish(
        self, terminated: npt.NDArray[np.bool_], truncated: npt.NDArray[np.bool_], policies: npt.NDArray[np.int64]
    ) -> list[Chunk]:
        """Cut and return the chunks that are full or whose episode has ended."""
        ended = terminated | truncated
        due = np.flatnonzero((self._used == self._period) | (ended & (self._used > 0)))
        return [self._cut(env, bool(ended[env]), bool(terminated[env]), int(policies[env])) for env in due.tolist()]

    def _cut(self, env: int, is_last: bool, terminal: bool, policy: int) -> Chunk:
        n = int(self._used[env])
        frames = self._frames[env, : n + 1].view(np.uint8)
        chunk = Chunk(
            actor=self._actor,
            episode=int(self._episode[env]),
            index=int(self._index[env]),
            policy=policy,
            weight_version=int(self._version[env]),
            is_last=is_last,
            terminal=terminal,
            frames=compress_frames(frames),
            frame_shape=(frames.shape[1], frames.shape[2]),
            lstm_state=self._state[:, env].copy(),
            first_inputs=_take(self._first, env),
            steps=_take(self._steps, (env, slice(0, n))),
            mu=self._mu[env, :n].copy(),
        )
        self._used[env] = 0
        self._index[env] += 1
        return chunk


def _take(inputs: StepInputs, where: Any) -> StepInputs:
    return StepInputs(*(np.array(value[where]) for value in inputs))
