"""The check of chunks that enter the replay: complete, finite and of this replay's sizes. Inside, they are trusted."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from meme57.agent.inputs import INPUTS
from meme57.errors import ReplayError
from meme57.replay.batch import BatchLayout
from meme57.replay.chunks import Chunk, StepInputs
from meme57.replay.codec import check_frames

MU_TOLERANCE = 1e-5  # float32 probabilities may round to a little above 1


def check_chunk(chunk: Chunk, layout: BatchLayout) -> None:
    """Raise `ReplayError` unless the chunk keeps the contract of `Chunk` and fits the layout.

    Only an episode's last chunk may be shorter than the period or terminal. The steps' actions lie in [0, num_actions);
    the first input's action may also be num_actions ("none"). Every number is finite. Frames are not decoded: only
    their stated size is checked.
    """
    try:
        _check_identity(chunk, layout)
        _check_arrays(chunk, layout)
        check_frames(chunk.frames, (chunk.num_steps + 1) * layout.stored_shape[0] * layout.stored_shape[1])
    except ReplayError as error:
        who = f"actor {chunk.actor}, episode {chunk.episode}, chunk {chunk.index}"
        raise ReplayError(f"{error} ({who})") from error


def _check_identity(chunk: Chunk, layout: BatchLayout) -> None:
    n = chunk.num_steps
    if min(chunk.actor, chunk.episode, chunk.index, chunk.policy, chunk.weight_version) < 0:
        raise ReplayError("a chunk's actor, episode, index, policy and weight version must be at least 0")
    if not 1 <= n <= layout.period or (n < layout.period and not chunk.is_last):
        raise ReplayError(f"a chunk has {n} steps; it must have {layout.period}, or fewer at an episode's end")
    if chunk.terminal and not chunk.is_last:
        raise ReplayError("a chunk is terminal but not its episode's last")
    if tuple(chunk.frame_shape) != layout.stored_shape:
        raise ReplayError(f"a chunk's frames are {chunk.frame_shape}, this replay's are {layout.stored_shape}")


def _check_arrays(chunk: Chunk, layout: BatchLayout) -> None:
    n = chunk.num_steps
    _check(chunk.lstm_state, "lstm_state", np.float32, (2, layout.lstm_size))
    _check(chunk.mu, "mu", np.float32, (n,))
    if chunk.mu.min() < 0 or chunk.mu.max() > 1 + MU_TOLERANCE:
        raise ReplayError("a chunk's mu is outside [0, 1]; it is the probability of the action taken")
    _check_inputs(chunk.first_inputs, "first_inputs", (), layout.embedding_size, layout.num_actions + 1)
    _check_inputs(chunk.steps, "steps", (n,), layout.embedding_size, layout.num_actions)


def _check_inputs(
    inputs: StepInputs, name: str, shape: tuple[int, ...], embedding_size: int, action_limit: int
) -> None:
    for field, kind in INPUTS.items():
        _check(getattr(inputs, field), f"{name}.{field}", kind.dtype, kind.shape(shape, embedding_size))
    if np.min(inputs.action) < 0 or np.max(inputs.action) >= action_limit:
        raise ReplayError(f"a chunk's {name}.action is outside 0..{action_limit - 1}")


def _check(array: npt.NDArray[Any], name: str, dtype: type[np.generic], shape: tuple[int, ...]) -> None:
    if np.shape(array) != shape or array.dtype != dtype:
        raise ReplayError(f"a chunk's {name} is {array.dtype} {np.shape(array)}, expected {np.dtype(dtype)} {shape}")
    if dtype is not np.int64 and not np.isfinite(array).all():
        raise ReplayError(f"a chunk's {name} holds a value that is not finite")
