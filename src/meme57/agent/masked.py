"""Means over real steps."""

from __future__ import annotations

from torch import Tensor


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Average [T, B] where the mask is True; 0 where it is nowhere."""
    return values.masked_fill(~mask, 0.0).sum() / mask.sum().clamp_min(1)
