"""The content of a checkpoint's `state.json`, checked before any of it is used."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field

from meme57.errors import CheckpointError, ReplayError
from meme57.files import checked

Whole = Annotated[int, Field(ge=0)]
Finite = Annotated[float, Field(allow_inf_nan=False)]

FOREIGN = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RuntimeError, ReplayError)
"""Errors that the parts of a run raise when they are given a state that is not theirs."""

ACCELERATOR = (torch.OutOfMemoryError, torch.AcceleratorError)
ACCELERATOR_WORDS = re.compile("CUDA error|CUDNN_|CUBLAS_|CUSOLVER_")
"""Of errors by which PyTorch reports a library's failure; they have no type of their own."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)


class LearnerState(_Part):
    """Counters of the learner."""

    num_updates: Whole
    num_skipped: Whole


class LimiterState(_Part):
    """Sequences drawn and inserted, from which the rate limiter computes the draws due."""

    drawn: Whole
    inserted: Whole


class StatisticsState(_Part):
    """Episodes so far, and the last returns of policy 0."""

    num_episodes: Whole
    exploit_returns: list[Finite]


class TrainingState(_Part):
    """The whole file. The states of pool, random generator and replay are checked where they are used."""

    frames: Whole
    elapsed_seconds: Annotated[Finite, Field(ge=0)]
    learner: LearnerState
    limiter: LimiterState
    statistics: StatisticsState
    pool: dict[str, Any]
    random: dict[str, Any]
    replay: dict[str, Any]
    row: dict[str, Finite]
    """The metrics row that was written with the checkpoint."""


def parse_state(tree: Any, path: Path) -> TrainingState:
    """Validate what was read from `path`.

    Raises:
        CheckpointError: a value is missing, of another type, or impossible.
    """
    return checked(TrainingState, tree, path)


@contextmanager
def foreign_state(folder: Path) -> Iterator[None]:
    """Turn the error of a part that was given a foreign state into a `CheckpointError`, but not an accelerator's."""
    try:
        yield
    except FOREIGN as error:
        if isinstance(error, ACCELERATOR) or ACCELERATOR_WORDS.search(str(error)):  # the checkpoint is not the cause
            raise
        raise CheckpointError(f"{folder} cannot be restored: {type(error).__name__} {str(error)[:200]}") from error
