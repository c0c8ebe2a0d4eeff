"""How surprising a sequence was: the priority it is replayed with."""

from __future__ import annotations

from torch import Tensor


def sequence_priority(td_errors: Tensor, mask: Tensor, *, eta: float) -> Tensor:
    """Compute p = eta max_t |delta_t| + (1 - eta) mean_t |delta_t| over masked-in steps.

    Args:
        td_errors: [T, B], signed.
        mask: [T, B] bool; the padding may hold anything.
        eta: 0.9 in R2D2.

    Returns:
        [B]; 0 for a sequence without real steps.

    Source: R2D2 [inherited].
    """
    magnitude = td_errors.abs().masked_fill(~mask, 0.0)
    mean = magnitude.sum(0) / mask.sum(0).clamp_min(1)
    return eta * magnitude.amax(0) + (1.0 - eta) * mean
