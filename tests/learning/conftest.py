"""Tiny parameters, random batches of sequences with padding, and random network outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from meme57.agent.network import NetworkOutput
from meme57.config import Parameters, parse_parameters
from meme57.learning.tensors import TensorBatch, to_tensors
from meme57.replay.chunks import SequenceBatch, StepInputs
from tiny_agent import _one_torch_thread, changed  # noqa: F401 - for every test below this folder

TINY: dict[str, Any] = {
    "run": {"total_frames": 8_000, "checkpoint_period_frames": 4_000, "log_period_frames": 1_000},
    "env": {"game": "Corridor", "num_envs": 4, "height": 16, "width": 16},
    "family": {"num_policies": 3, "gamma_max": 0.99, "gamma_min": 0.9},
    "network": {"torso": "small", "lstm_size": 8, "head_size": 8, "feature_size": 8, "action_embedding_size": 4,
                "small_channels": [3, 4]},
    "novelty": {"embedding_size": 4, "num_neighbours": 3, "memory_size": 100, "channels": [3, 4], "hidden_size": 8,
                "rnd_size": 4},
    "replay": {"period": 8, "capacity_sequences": 200, "min_sequences": 12, "samples_per_insert": 2.0},
    "actors": {"weights_period_steps": 10},
    "learner": {"batch_size": 4, "target_period_updates": 5},
}  # fmt: skip


def build_parameters(**groups: dict[str, Any]) -> Parameters:
    return parse_parameters(changed(TINY, **groups))


def build_batch(
    *, lengths: list[int], terminal: list[bool], num_steps: int = 6, num_actions: int = 4, num_policies: int = 3,
    lstm_size: int = 8, embedding_size: int = 4, size: int = 16, seed: int = 0,
) -> SequenceBatch:  # fmt: skip
    """Random numbers everywhere, padding included; only `mask`, `lengths` and `terminal` tell them apart."""
    rng, T, B = np.random.default_rng(seed), num_steps, len(lengths)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    inputs = StepInputs(
        rng.integers(num_actions + 1, size=(T + 1, B)), *(normal(T + 1, B) for _ in range(4)),
        normal(T + 1, B, embedding_size).astype(np.float16),
    )  # fmt: skip
    return SequenceBatch(
        frames=rng.integers(0, 256, (B, T + 1, size, size), dtype=np.uint8),
        inputs=inputs,
        actions=rng.integers(num_actions, size=(T, B)),
        rewards=3 * normal(T, B),
        intrinsic_rewards=np.abs(normal(T, B)),
        mu=rng.uniform(0.05, 1.0, (T, B)).astype(np.float32),
        mask=np.arange(T)[:, None] < np.array(lengths),
        lengths=np.array(lengths),
        terminal=np.array(terminal),
        policies=rng.integers(num_policies, size=B),
        lstm_state=normal(2, B, lstm_size),
        probabilities=np.full(B, 1.0 / B),
        importance=rng.uniform(0.2, 1.0, B).astype(np.float32),
        sequence_ids=np.arange(B),
    )


def as_float64(batch: TensorBatch) -> TensorBatch:
    fields = {
        name: value.double()
        for name, value in batch._asdict().items()
        if isinstance(value, torch.Tensor) and value.is_floating_point()
    }
    return batch._replace(**fields)


def build_outputs(num_steps: int, batch: int, *, seed: int, num_policies: int = 3, num_actions: int = 4):
    """Random heads at observations 0..T, float64, with gradient."""
    generator = torch.Generator().manual_seed(seed)
    shape = (num_steps + 1, batch, num_policies, num_actions)
    heads = [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(3)]
    state, core = torch.zeros(2, batch, 8), torch.zeros(num_steps + 1, batch, 8)
    return NetworkOutput(2 * heads[0], heads[1], heads[2], state, core)


@pytest.fixture(scope="session")
def make_parameters() -> Callable[..., Parameters]:
    return build_parameters


@pytest.fixture(scope="session")
def make_batch() -> Callable[..., SequenceBatch]:
    return build_batch


@pytest.fixture(scope="session")
def make_tensors() -> Callable[..., TensorBatch]:
    return lambda **settings: as_float64(to_tensors(build_batch(**settings), torch.device("cpu")))


@pytest.fixture(scope="session")
def make_outputs() -> Callable[..., NetworkOutput]:
    return build_outputs
