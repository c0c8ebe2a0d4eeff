"""Sequence priorities: hand values, a loop, and padding of any content."""

from __future__ import annotations

import math

import pytest
import torch

from meme57.agent.priorities import sequence_priority


def test_by_hand() -> None:
    # |delta| = 1, 3, 2 and padding: 0.9 * 3 + 0.1 * (1 + 3 + 2) / 3 = 2.7 + 0.2
    errors = torch.tensor([[1.0], [-3.0], [2.0], [50.0]])
    mask = torch.tensor([[True], [True], [True], [False]])
    assert sequence_priority(errors, mask, eta=0.9).tolist() == pytest.approx([2.9])


def test_equals_a_loop_with_poison_in_the_padding() -> None:
    generator = torch.Generator().manual_seed(0)
    errors = torch.randn(9, 6, generator=generator, dtype=torch.float64)
    lengths = [9, 1, 4, 9, 2, 7]
    mask = torch.arange(9).unsqueeze(1) < torch.tensor(lengths)
    errors[~mask] = torch.nan
    priorities = sequence_priority(errors, mask, eta=0.7)
    for b, length in enumerate(lengths):
        kept = [abs(errors[t, b].item()) for t in range(length)]
        assert priorities[b].item() == pytest.approx(0.7 * max(kept) + 0.3 * sum(kept) / length, abs=1e-12)


def test_ends_of_eta() -> None:
    errors, mask = torch.tensor([[1.0], [-3.0]]), torch.ones(2, 1, dtype=torch.bool)
    assert sequence_priority(errors, mask, eta=1.0).tolist() == [3.0]
    assert sequence_priority(errors, mask, eta=0.0).tolist() == [2.0]


def test_no_real_step_is_zero() -> None:
    errors = torch.full((3, 1), math.nan)
    assert sequence_priority(errors, torch.zeros(3, 1, dtype=torch.bool), eta=0.9).tolist() == [0.0]
