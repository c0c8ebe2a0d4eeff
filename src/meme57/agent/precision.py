"""Where autocast must not choose the type of numbers."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def no_autocast(device: str) -> AbstractContextManager[object]:
    """Turn autocast off, where the device has it: the meta device, on which memory is estimated, does not."""
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()


def product_type(weight: Tensor) -> torch.dtype:
    """Return the type that products and convolutions with this weight have: autocast's, where it is on."""
    device = weight.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return weight.dtype
