"""The running standard deviation against a loop over numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from meme57.learning.running_scale import RunningScale

YES = torch.tensor(True)


def scale(decay: float = 0.99) -> RunningScale:
    return RunningScale(3, decay=decay, device=torch.device("cpu"))


def test_zero_before_the_first_update() -> None:
    assert scale().std.tolist() == [0.0, 0.0, 0.0]
    assert scale().std.dtype == torch.float32


def test_first_batch_by_hand_is_bias_corrected() -> None:
    # weights 3 and 1: mean (3 * 1 + 1 * 5) / 4 = 2, mean square (3 + 25) / 4 = 7, std sqrt(7 - 4)
    running = scale()
    errors = torch.tensor([[[1.0] * 3, [5.0] * 3]])
    running.update(errors, torch.ones(1, 2, dtype=torch.bool), torch.tensor([3.0, 1.0]), YES)
    assert running.std.tolist() == pytest.approx([math.sqrt(3.0)] * 3)


def test_equals_a_loop_with_poison_in_the_padding() -> None:
    rng, running = np.random.default_rng(0), scale(0.9)
    moments, weight = np.zeros((2, 3)), 0.0
    for step in range(12):
        errors, mask = rng.normal(step, 1 + step, (4, 5, 3)), rng.random((4, 5)) < 0.6
        importance = rng.uniform(0.1, 1.0, 5)
        total, first, second = 0.0, np.zeros(3), np.zeros(3)
        for t in range(4):
            for b in range(5):
                if mask[t, b]:
                    total += importance[b]
                    first += importance[b] * errors[t, b]
                    second += importance[b] * errors[t, b] ** 2
        moments = 0.9 * moments + 0.1 * np.array([first, second]) / total
        weight = 0.9 * weight + 0.1
        errors[~mask] = np.nan
        running.update(torch.tensor(errors), torch.tensor(mask), torch.tensor(importance), YES)
        mean, square = moments / weight
        np.testing.assert_allclose(running.std.numpy(), np.sqrt(square - mean**2), rtol=1e-6)


def test_state_round_trip_shares_nothing() -> None:
    first, second, generator = scale(), scale(), torch.Generator().manual_seed(0)
    mask, importance = torch.ones(4, 2, dtype=torch.bool), torch.ones(2)
    first.update(torch.randn(4, 2, 3, generator=generator), mask, importance, YES)
    state = {name: value.clone() for name, value in first.state_dict().items()}
    second.load_state_dict(state)
    for _ in range(2):
        errors = torch.randn(4, 2, 3, generator=generator)
        for running in (first, second):
            running.update(errors, mask, importance, YES)
        assert torch.equal(first.std, second.std)


def test_an_unusable_batch_changes_nothing() -> None:
    running, mask = scale(), torch.ones(1, 2, dtype=torch.bool)
    running.update(torch.randn(1, 2, 3), mask, torch.ones(2), YES)
    before = {name: value.clone() for name, value in running.state_dict().items()}
    running.update(torch.full((1, 2, 3), torch.nan), mask, torch.ones(2), ~YES)
    assert all(torch.equal(value, before[name]) for name, value in running.state_dict().items())
