"""Copies between the host and the device of the networks: one for all arrays of a step, since a copy costs a wait."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor


def upload(arrays: Iterable[npt.NDArray[Any]], device: torch.device) -> list[Tensor]:
    """Copy arrays to `device` in one copy, for which the host does not wait. On a CPU: wrap them.

    The widest types must come first: then each number lies at a multiple of its size.
    """
    tensors = [torch.from_numpy(array) for array in arrays]
    if device.type == "cpu":
        return tensors
    locked = torch.empty(sum(tensor.nbytes for tensor in tensors), dtype=torch.uint8, pin_memory=True)
    return _split(torch.cat(_bytes(tensors), out=locked).to(device, non_blocking=True), tensors)


def download(tensors: Sequence[Tensor]) -> list[npt.NDArray[Any]]:
    """Copy tensors of one device to the host in one copy, and wait for it. On a CPU: wrap them. Widest types first."""
    if tensors[0].device.type == "cpu":
        return [tensor.numpy() for tensor in tensors]
    packed = torch.cat(_bytes(tensors))
    locked = torch.empty(packed.shape, dtype=torch.uint8, pin_memory=True)
    return [part.numpy() for part in _split(locked.copy_(packed), tensors)]


def _bytes(tensors: Iterable[Tensor]) -> list[Tensor]:
    return [tensor.contiguous().view(-1).view(torch.uint8) for tensor in tensors]


def _split(packed: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    parts = torch.split(packed, [tensor.nbytes for tensor in like])
    return [part.view(tensor.dtype).view(tensor.shape) for part, tensor in zip(parts, like, strict=True)]
