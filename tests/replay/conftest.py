"""Synthetic episodes, cut into chunks by a plain loop; every number in them is random and thus recognisable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pytest

from meme57.agent.inputs import Inputs
from meme57.replay import Chunk, SequenceReplay, StepInputs, compress_frames

PERIOD, FRAME_SHAPE, LSTM_SIZE, EMBEDDING_SIZE, NUM_ACTIONS = 4, (6, 5), 3, 2, 5


@dataclass
class Episode:
    """A whole episode before it is cut: n steps, n + 1 observations, n + 1 inputs and recurrent states."""

    chunks: list[Chunk]
    observations: np.ndarray  # [n+1, H, W]
    inputs: list[StepInputs]  # [n+1], the first is "none"
    states: np.ndarray  # [n+1, 2, lstm_size]
    mu: np.ndarray  # [n]
    terminal: bool
    policy: int


def _record(rng: np.random.Generator) -> StepInputs:
    numbers = rng.normal(size=4).astype(np.float32)
    embedding = rng.normal(size=EMBEDDING_SIZE).astype(np.float16)
    return StepInputs(np.asarray(rng.integers(NUM_ACTIONS)), *(np.asarray(x) for x in numbers), embedding)


def _none() -> StepInputs:
    zero = np.zeros((), np.float32)
    return StepInputs(np.asarray(np.int64(NUM_ACTIONS)), zero, zero, zero, zero, np.zeros(EMBEDDING_SIZE, np.float16))


def build_episode(
    num_steps: int, *, seed: int = 0, actor: int = 0, episode: int = 0, terminal: bool = True, period: int = PERIOD
) -> Episode:
    rng = np.random.default_rng((seed, actor, episode, num_steps))
    observations = rng.integers(1, 256, (num_steps + 1, *FRAME_SHAPE), dtype=np.uint8)
    inputs = [_none(), *(_record(rng) for _ in range(num_steps))]
    states = rng.normal(size=(num_steps + 1, 2, LSTM_SIZE)).astype(np.float32)
    mu = rng.random(num_steps, dtype=np.float32)
    policy = int(rng.integers(16))
    chunks = []
    for index, start in enumerate(range(0, num_steps, period)):
        end = min(start + period, num_steps)
        left = inputs[start + 1 : end + 1]
        steps = StepInputs(*(np.stack(values) for values in zip(*left, strict=True)))
        chunks.append(
            Chunk(
                actor=actor,
                episode=episode,
                index=index,
                policy=policy,
                weight_version=int(rng.integers(1000)),
                is_last=end == num_steps,
                terminal=terminal and end == num_steps,
                frames=compress_frames(observations[start : end + 1]),
                frame_shape=FRAME_SHAPE,
                lstm_state=states[start].copy(),
                first_inputs=inputs[start],
                steps=steps,
                mu=mu[start:end].copy(),
            )
        )
    return Episode(chunks, observations, inputs, states, mu, terminal, policy)


def build_replay(**overrides: Any) -> SequenceReplay:
    settings: dict[str, Any] = {
        "period": PERIOD,
        "capacity_sequences": 16,
        "frame_shape": FRAME_SHAPE,
        "lstm_size": LSTM_SIZE,
        "embedding_size": EMBEDDING_SIZE,
        "num_actions": NUM_ACTIONS,
        "priority_exponent": 0.6,
        "importance_exponent": 0.4,
    }
    return SequenceReplay(**{**settings, **overrides})


def same_chunk(a: Chunk, b: Chunk) -> bool:
    """Equal in every bit, dtypes included."""
    for field in fields(Chunk):
        left, right = getattr(a, field.name), getattr(b, field.name)
        pairs = [(left, right)]
        if isinstance(left, Inputs):
            pairs = list(zip(left, right, strict=True))
        for x, y in pairs:
            if isinstance(x, np.ndarray) and not (
                x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
            ):
                return False
            if not isinstance(x, np.ndarray) and (type(x) is not type(y) or x != y):
                return False
    return True


def flatten_batch(batch: Any) -> dict[str, np.ndarray]:
    """All arrays of a batch by name, copied."""
    arrays = dict(vars(batch))
    arrays.update({f"inputs.{name}": array for name, array in arrays.pop("inputs")._asdict().items()})
    return {name: np.array(array) for name, array in arrays.items()}


@pytest.fixture(scope="session")
def make_episode() -> Callable[..., Episode]:
    return build_episode


@pytest.fixture(scope="session")
def make_replay() -> Callable[..., SequenceReplay]:
    return build_replay


@pytest.fixture(scope="session")
def is_same_chunk() -> Callable[[Chunk, Chunk], bool]:
    return same_chunk


@pytest.fixture(scope="session")
def flatten() -> Callable[[Any], dict[str, np.ndarray]]:
    return flatten_batch
