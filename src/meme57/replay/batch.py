"""From chunks to the learner's batch: frames decoded in place, everything else in one scatter per field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from meme57.agent.inputs import INPUTS
from meme57.errors import ReplayError
from meme57.replay.chunks import Chunk, SequenceBatch, StepInputs
from meme57.replay.codec import decompress_frames_into

Pair = tuple[Chunk, Chunk | None]


@dataclass(frozen=True)
class BatchLayout:
    """The sizes that all chunks and batches of a replay share; T = 2 `period`."""

    period: int
    frame_shape: tuple[int, int]
    lstm_size: int
    embedding_size: int
    num_actions: int
    frame_dtype: str = "uint8"

    @property
    def stored_shape(self) -> tuple[int, int]:
        """Return a frame's shape in a chunk: H, and W in bytes."""
        return self.frame_shape[0], self.frame_shape[1] * np.dtype(self.frame_dtype).itemsize

    def arrays(self, batch_size: int) -> dict[str, tuple[tuple[int, ...], npt.DTypeLike]]:
        """Return shape and dtype of each array of a `SequenceBatch`, fields of `inputs` as `inputs.<name>`."""
        T, B = 2 * self.period, batch_size
        per_step, per_input, per_sequence = (T, B), (T + 1, B), (B,)
        return {
            "frames": ((B, T + 1, *self.frame_shape), self.frame_dtype),
            **{
                f"inputs.{name}": (kind.shape(per_input, self.embedding_size), kind.dtype)
                for name, kind in INPUTS.items()
            },
            "actions": (per_step, np.int64),
            "rewards": (per_step, np.float32),
            "intrinsic_rewards": (per_step, np.float32),
            "mu": (per_step, np.float32),
            "mask": (per_step, np.bool_),
            "lengths": (per_sequence, np.int64),
            "terminal": (per_sequence, np.bool_),
            "policies": (per_sequence, np.int64),
            "lstm_state": ((2, B, self.lstm_size), np.float32),
            "probabilities": (per_sequence, np.float64),
            "importance": (per_sequence, np.float32),
            "sequence_ids": (per_sequence, np.int64),
        }


def new_batch(layout: BatchLayout, batch_size: int) -> SequenceBatch:
    """Allocate a batch of zeros, which can be filled again and again."""
    arrays: dict[str, Any] = {
        name: np.zeros(shape, dtype) for name, (shape, dtype) in layout.arrays(batch_size).items()
    }
    inputs = StepInputs(*(arrays.pop(f"inputs.{name}") for name in INPUTS))
    return SequenceBatch(inputs=inputs, **arrays)


def check_batch(layout: BatchLayout, batch: SequenceBatch, batch_size: int) -> None:
    """Raise `ReplayError` unless every array has the layout's shape and dtype and is C-contiguous."""
    for name, (shape, dtype) in layout.arrays(batch_size).items():
        group, _, field = name.rpartition(".")
        array = getattr(batch.inputs if group else batch, field)
        if array.shape != shape or array.dtype != dtype or not array.flags.c_contiguous:
            raise ReplayError(
                f"the batch's {name} is {array.dtype} {array.shape}, expected C-contiguous {np.dtype(dtype)} {shape}; "
                f"make it with new_batch({batch_size})"
            )


def fill_batch(batch: SequenceBatch, pairs: Sequence[Pair], num_actions: int) -> None:
    """Write the sequences `pairs` [B] into `batch`, replacing all of its earlier content.

    `inputs` at t = 0 are the first chunk's first inputs, at t > 0 the record of step t-1. Padding is zero; its
    `inputs.action` is `num_actions` ("none"). `ReplayError`: damaged frames. Source: MEME section 3 [paper]; the
    layout is [ours].
    """
    _clear(batch, num_actions)
    first = [pair[0] for pair in pairs]
    last = [pair[1] or pair[0] for pair in pairs]
    batch.lengths[:] = [chunk.num_steps + (second.num_steps if second else 0) for chunk, second in pairs]
    batch.terminal[:] = [chunk.terminal for chunk in last]
    batch.policies[:] = [chunk.policy for chunk in first]
    batch.mask[:] = np.arange(len(batch.mask))[:, None] < batch.lengths
    np.stack([chunk.lstm_state for chunk in first], axis=1, out=batch.lstm_state)
    for name, array in batch.inputs._asdict().items():
        array[0] = [getattr(chunk.first_inputs, name) for chunk in first]
    _fill_steps(batch, [chunk for pair in pairs for chunk in pair if chunk is not None])
    for frames, (chunk, second) in zip(batch.frames, pairs, strict=True):
        _fill_frames(frames.view(np.uint8), chunk, second)


def _clear(batch: SequenceBatch, num_actions: int) -> None:
    for array in batch.inputs:
        array.fill(0)
    batch.inputs.action.fill(num_actions)
    for array in (batch.actions, batch.rewards, batch.intrinsic_rewards, batch.mu):
        array.fill(0)


def _fill_steps(batch: SequenceBatch, chunks: Sequence[Chunk]) -> None:
    """Copy the steps of all chunks, in order of sequence, to their times; a step's record is the next input."""
    sequence, time = np.nonzero(batch.mask.T)  # sequence by sequence, as the chunks come
    B = len(batch.lengths)
    here = time * B + sequence
    taken: dict[str, npt.NDArray[Any]] = {
        "action": batch.actions,
        "reward": batch.rewards,
        "intrinsic": batch.intrinsic_rewards,
    }
    for name, array in batch.inputs._asdict().items():
        values = np.concatenate([getattr(chunk.steps, name) for chunk in chunks])
        _rows(array)[here + B] = values
        if name in taken:
            _rows(taken[name])[here] = values
    _rows(batch.mu)[here] = np.concatenate([chunk.mu for chunk in chunks])


def _rows(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a view [T, B, ...] -> [T*B, ...]."""
    return array.reshape(-1, *array.shape[2:])


def _fill_frames(frames: npt.NDArray[np.uint8], first: Chunk, second: Chunk | None) -> None:
    """Decode a sequence into [T+1, H, bytes]; the observation that the two chunks share is simply written twice."""
    end = first.num_steps
    decompress_frames_into(first.frames, frames[: end + 1])
    if second is not None:
        decompress_frames_into(second.frames, frames[end : end + second.num_steps + 1])
        end += second.num_steps
    frames[end + 1 :] = 0
