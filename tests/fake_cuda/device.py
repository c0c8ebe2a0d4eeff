"""A CUDA device that is not there: shapes, types and devices are right, nothing is computed, and everything is counted.

PyTorch's FakeTensorMode needs a device guard to believe in a device (guard.cpp). With it, `.to("cuda")`, autocast and
autograd work, and a mistake about devices raises as it would on a card. Importing this changes PyTorch for good, so it
belongs in a process of its own: `scenarios.py`.
"""

from __future__ import annotations

import collections
import ctypes
import os
import traceback
from typing import Any, ClassVar

ctypes.CDLL(os.environ["FAKE_CUDA_GUARD"], mode=ctypes.RTLD_GLOBAL)  # before PyTorch asks whether there is a device

import numpy as np
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["CudnnLstm", "FakeTensorMode", "Usage"]

VIEWS = {
    "_reshape_alias", "_unsafe_view", "alias", "as_strided", "detach", "diagonal", "expand", "lift_fresh", "permute",
    "reshape", "select", "slice", "split", "split_with_sizes", "squeeze", "t", "transpose", "unbind", "unflatten",
    "unsqueeze", "view",
}  # fmt: skip
"""Operations that launch nothing; so do allocations."""
COMPOSITE = "CompositeImplicitAutograd"
"""Operations made of others: inference mode hands them over whole, and they are counted by their parts."""
ALLOCATIONS = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}
TENSORS_A_LAUNCH = 40
"""How many tensors one launch of a `_foreach` or `_fused` operation takes, about."""


def where() -> str:
    """The line of this project that is at work."""
    for frame in reversed(traceback.extract_stack()):
        if "/src/meme57/" in frame.filename:
            return f"{frame.filename.split('/src/meme57/')[1]}:{frame.lineno}"
    return "?"


class Usage(TorchDispatchMode):
    """Counts what the device is asked: launches, bytes moved by them, copies, and waits of the host for the device."""

    def __init__(self, *, chosen: int = 2) -> None:
        """`chosen` is how many entries a mask is taken to select: the device computes none."""
        super().__init__()
        self._chosen = chosen
        self.launches = 0
        self.bytes = 0
        self.waits: collections.Counter[str] = collections.Counter()
        self.copies: collections.Counter[str] = collections.Counter()
        self._launches_of: collections.Counter[str] = collections.Counter()
        self._bytes_of: collections.Counter[str] = collections.Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        space, name = func._schema.name.split("::")
        if space == "prim":  # a question, such as for the device
            return func(*args, **kwargs)
        if torch.is_inference_mode_enabled() and _is_composite(func):
            with self:
                return func.decompose(*args, **kwargs)
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        on_device = any(tensor.device.type == "cuda" for tensor in given)
        if name == "_local_scalar_dense":
            self._wait(on_device)
            return 1
        if name == "nonzero":
            self._wait(on_device)
            return torch.empty(self._chosen, args[0].dim(), dtype=torch.long, device=args[0].device)
        if name in ("index", "index_put", "index_put_", "_index_put_impl_"):
            args = self._index(name, args)
            if args is None:
                return given[0]
        made = func(*args, **kwargs)
        self._count(name, args, kwargs, given, [leaf for leaf in tree_leaves(made) if isinstance(leaf, torch.Tensor)])
        return made

    def _wait(self, on_device: bool) -> None:
        if on_device:
            self.waits[where()] += 1

    def _index(self, name: str, args: Any) -> Any:
        """Check the devices of indices, and give masks as many rows as they are taken to select."""
        me, value, indices = args[0], args[2] if name != "index" else None, []
        if value is not None and value.device != me.device and value.numel() != 1:
            raise RuntimeError(f"index_put: value on {value.device}, self on {me.device}")
        for index in args[1]:
            if index is not None and index.device != me.device:
                if index.device.type != "cpu":
                    raise RuntimeError(f"indices should be on the CPU or on the device of the tensor ({me.device})")
                self.waits[where()] += 1  # the index travels, and the host waits for it
            if index is None or index.dtype != torch.bool:
                indices.append(index)
                continue
            fills = (
                value is not None and value.numel() == 1 and value.device.type == "cpu" and index.device == me.device
            )
            self._wait(index.device.type == "cuda" and not fills)
            if value is not None:
                self.launches += me.device.type == "cuda"
                return None
            rows = torch.zeros(self._chosen, dtype=torch.long, device=index.device)
            indices += [rows] * index.dim()
        return (me, indices, *args[2:])

    def _count(self, name: str, args: Any, kwargs: Any, given: list[Any], made: list[Any]) -> None:
        devices = {tensor.device.type for tensor in given + made}
        if "copy" in name and devices == {"cpu", "cuda"}:
            free = bool(kwargs.get("non_blocking", False)) or (name == "copy_" and len(args) > 2 and bool(args[2]))
            (self.copies if free else self.waits)[where()] += 1
        if "cuda" not in devices or name in VIEWS or name in ALLOCATIONS:
            return
        together = name.startswith(("_foreach", "_fused"))
        launches = max(1, len(args[0]) // TENSORS_A_LAUNCH) if together else 1
        changed = given[:1] if name.endswith("_") else made
        size = sum(_bytes(tensor) for tensor in given + changed if tensor.device.type == "cuda")
        self.launches, self.bytes = self.launches + launches, self.bytes + size
        self._launches_of[name] += launches
        self._bytes_of[name] += size

    def numbers(self) -> dict[str, Any]:
        """The counts as JSON types."""
        return {
            "launches": self.launches, "gigabytes": self.bytes / 1e9, "waits": sum(self.waits.values()),
            "wait_at": dict(self.waits), "copies": sum(self.copies.values()),
            "most launches": dict(self._launches_of.most_common(10)),
            "most gigabytes": {name: size / 1e9 for name, size in self._bytes_of.most_common(10)},
        }  # fmt: skip


def _is_composite(func: Any) -> bool:
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), COMPOSITE))


def _bytes(tensor: torch.Tensor) -> int:
    """Bytes of the distinct elements: an expanded dimension counts once."""
    size = tensor.element_size()
    for length, stride in zip(tensor.shape, tensor.stride(), strict=True):
        size *= length if stride else 1
    return size


class CudnnLstm(torch.autograd.Function):
    """cuDNN's LSTM as PyTorch calls it: under any autocast its inputs and weights become float16."""

    seen: ClassVar[set[torch.dtype]] = set()
    """Types that it ran in."""

    @staticmethod
    def forward(ctx: Any, inputs: Any, hidden: Any, cell: Any, *weights: Any) -> Any:
        tensors = (inputs, hidden, cell, *weights)
        if len({tensor.device for tensor in tensors}) > 1 or len({tensor.dtype for tensor in tensors}) > 1:
            raise RuntimeError(f"LSTM: {[(str(tensor.device), tensor.dtype) for tensor in tensors]}")
        if not (hidden.is_contiguous() and cell.is_contiguous()):
            raise RuntimeError("rnn: hx is not contiguous")
        CudnnLstm.seen.add(inputs.dtype)
        ctx.save_for_backward(*tensors)
        size = weights[1].shape[1]
        out = inputs.new_empty(*inputs.shape[:2], size)
        return out, torch.empty_like(hidden), torch.empty_like(cell)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return tuple(torch.empty_like(tensor) for tensor in ctx.saved_tensors)


_lstm_forward = nn.LSTM.forward


def _forward(self: nn.LSTM, inputs: Any, state: Any = None) -> Any:
    if inputs.device.type != "cuda":
        return _lstm_forward(self, inputs, state)
    tensors = [inputs, *state, *self._parameters.values()]
    if torch.is_autocast_enabled("cuda"):
        tensors = [tensor.to(torch.float16) for tensor in tensors]
    with torch.autocast("cuda", enabled=False):
        outputs, hidden, cell = CudnnLstm.apply(*tensors)
    return outputs, (hidden, cell)


def _apply(self: nn.Module, function: Any, recurse: bool = True) -> nn.Module:
    """`nn.Module._apply` without the exchange of storages, which fake tensors refuse."""
    for child in self.children():
        child._apply(function)
    for name, parameter in self._parameters.items():
        if parameter is not None:
            with torch.no_grad():
                self._parameters[name] = nn.Parameter(function(parameter), parameter.requires_grad)
    for name, buffer in self._buffers.items():
        if buffer is not None:
            self._buffers[name] = function(buffer)
    return self


NUMPY_TYPES = {
    torch.float32: np.float32, torch.float64: np.float64, torch.float16: np.float16, torch.int64: np.int64,
    torch.bool: np.bool_, torch.uint8: np.uint8,
}  # fmt: skip
_numpy, _empty = torch.Tensor.numpy, torch.empty


def _fake_numpy(self: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    if not isinstance(self, FakeTensor):
        return _numpy(self, *args, **kwargs)
    if self.device.type != "cpu":
        raise TypeError(f"can't convert {self.device} tensor to numpy")
    return np.zeros(tuple(self.shape), NUMPY_TYPES[self.dtype])


def _fake_deepcopy(self: torch.Tensor, memo: Any) -> torch.Tensor:
    """A new tensor of the same kind: PyTorch's own copy reads memory that is not there."""
    made = torch.empty_like(self)
    return nn.Parameter(made, self.requires_grad) if isinstance(self, nn.Parameter) else made


class _Event:
    def record(self, *args: Any) -> None: ...

    def synchronize(self) -> None: ...


def _install() -> None:
    nn.LSTM.forward = _forward  # type: ignore[method-assign]
    nn.LSTM.flatten_parameters = lambda self: None  # type: ignore[method-assign]
    nn.Module._apply = _apply  # type: ignore[method-assign]
    torch.Tensor.numpy = _fake_numpy  # type: ignore[method-assign]
    FakeTensor.__deepcopy__ = _fake_deepcopy
    FakeTensor.tolist = lambda self: np.ones(tuple(self.shape)).tolist()
    torch.empty = lambda *a, pin_memory=False, **k: _empty(*a, **k)
    torch.cuda.Event = lambda *a, **k: _Event()  # type: ignore[misc,assignment]
    torch.cuda.is_bf16_supported = lambda *a, **k: True
    torch.cuda.amp.common.amp_definitely_not_available = lambda: False


_install()
