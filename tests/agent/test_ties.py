"""What counts as equally good: hand values of the slope, its scale, and what is no number."""

from __future__ import annotations

import math

import pytest
import torch

from meme57.agent.ties import as_good


@pytest.mark.parametrize(("largest", "scale"), [(0.0, 1.0), (0.2, 1.0), (-1.0, 1.0), (8.0, 8.0), (-500.0, 500.0)])
def test_by_hand(largest: float, scale: float) -> None:
    # tolerance 0.01: 1 up to 0.005 of the scale, then 2 - 2 * 0.006 / 0.01 = 0.8 and 0.2 at 0.009, 0 from 0.01 on
    shortfall = scale * torch.tensor([-1.0, 0.0, 0.005, 0.006, 0.009, 0.01, 3.0], dtype=torch.float64)
    q = torch.full_like(shortfall, largest / 2)
    q[3] = largest
    expected = [1.0, 1.0, 1.0, 0.8, 0.2, 0.0, 0.0]
    assert as_good(shortfall, q, tolerance=0.01).tolist() == pytest.approx(expected, abs=1e-9)


def test_each_state_has_its_own_scale() -> None:
    q, shortfall = torch.tensor([[100.0, 0.0], [1.0, 0.0]]), torch.full((2, 2), 0.1)
    assert as_good(shortfall, q, tolerance=0.01).tolist() == [[1.0, 1.0], [0.0, 0.0]]


def test_what_is_no_number_stays_none() -> None:
    # an update with such a loss is skipped: it must not look like a tie
    assert as_good(torch.tensor([math.nan]), torch.tensor([1.0])).isnan().all()
