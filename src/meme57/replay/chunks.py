"""Chunks of one replay period, which actors produce, and batches of sequences, which the learner reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from meme57.agent.inputs import Inputs

FloatArray = npt.NDArray[np.float32]


StepInputs = Inputs[npt.NDArray[Any]]
"""The inputs of a step as arrays with any leading dimensions."""


@dataclass(frozen=True)
class Chunk:
    """n <= P consecutive steps of one episode and n + 1 observations; only an episode's last chunk may be short.

    It is self-contained: it holds the recurrent state and the inputs of its first step. It is never changed, and it is
    shared by the sequences that overlap in it. `frames` is one zstd block of uint8 [n + 1, H, W], see `codec`; a vector
    of D numbers is a row of 4 D bytes.
    """

    actor: int  # identity: actor, episode number on that actor, index within the episode
    episode: int
    index: int
    policy: int  # j
    weight_version: int  # number of learner updates of the weights that acted
    is_last: bool  # the episode ends after this chunk
    terminal: bool  # its last step was a true terminal (False with is_last: a truncation)
    frames: bytes
    frame_shape: tuple[int, int]  # H, and W in bytes
    lstm_state: FloatArray  # [2, lstm_size]: hidden, cell before the first step
    first_inputs: StepInputs  # [] inputs of the first step
    steps: StepInputs  # [n] record of each step: action taken, rewards, embedding of the next observation
    mu: FloatArray  # [n] behaviour probability of the action taken

    @property
    def num_steps(self) -> int:
        """n, the number of agent steps."""
        return len(self.mu)

    @property
    def num_bytes(self) -> int:
        """Memory held, frames and everything else."""
        arrays = [self.lstm_state, self.mu]
        for inputs in (self.first_inputs, self.steps):
            arrays += inputs
        return len(self.frames) + sum(array.nbytes for array in arrays)


@dataclass
class SequenceBatch:
    """B sequences of T = 2 P steps, time-major except for the frames; padding is zero and masked out.

    A sequence of L real steps has mask True at t < L; observation L is its bootstrap observation. The arrays are
    reused by the next `sample` call.
    """

    frames: npt.NDArray[Any]  # [B, T+1, H, W] uint8, or float32 where the layout says so
    inputs: StepInputs  # [T+1, B] inputs at each observation (see StepInputs)
    actions: npt.NDArray[np.int64]  # [T, B]
    rewards: FloatArray  # [T, B] extrinsic
    intrinsic_rewards: FloatArray  # [T, B]
    mu: FloatArray  # [T, B]
    mask: npt.NDArray[np.bool_]  # [T, B] real steps
    lengths: npt.NDArray[np.int64]  # [B] L
    terminal: npt.NDArray[np.bool_]  # [B] whether step L-1 was a true terminal
    policies: npt.NDArray[np.int64]  # [B] j of the policy that acted
    lstm_state: FloatArray  # [2, B, lstm_size]
    probabilities: npt.NDArray[np.float64]  # [B] probability with which each sequence was drawn
    importance: FloatArray  # [B] importance weights, largest 1
    sequence_ids: npt.NDArray[np.int64]  # [B] for `update_priorities`
