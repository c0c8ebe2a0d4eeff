"""The parts of a normaliser-free residual network (NFNet; Brock et al., 2021): convolution, activation and block."""

from __future__ import annotations

import math
import operator
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from meme57.agent.precision import product_type

RELU_GAIN = math.sqrt(2.0 / (1.0 - 1.0 / math.pi))
"""Factor that keeps the variance of a ReLU's output at one for a normal input (Brock et al., 2021)."""


def scaled_relu(x: Tensor) -> Tensor:
    """Apply a ReLU with unit-variance output for unit-variance normal input.  Source: NFNet [inherited]."""
    return functional.relu(x) * RELU_GAIN


class _Kept(NamedTuple):
    """Weights and bias of a `ScaledConv2d`, and what they were computed from."""

    sources: list[Tensor]
    versions: list[int]
    settings: tuple[float, float, torch.dtype]
    """Both factors, and the type in which autocast convolves."""
    weight: Tensor
    bias: Tensor

    def is_of(self, sources: list[Tensor], versions: list[int], settings: tuple[float, float, torch.dtype]) -> bool:
        """Say whether they were computed from these very tensors, unchanged."""
        same = len(sources) == len(self.sources) and all(map(operator.is_, sources, self.sources))
        return same and (versions, settings) == (self.versions, self.settings)


class ScaledConv2d(nn.Conv2d):
    """Convolution whose weights are standardised per output channel and scaled by a learned gain.

    W = gain (W - mean) / sqrt(var fan_in + eps).  Source: NFNet (Brock et al., 2021) [paper: NFNet torso].

    Weights start with a deviation of 1 / sqrt(fan_in), as in the code of that paper [inherited]. W does not depend on
    it, but how far a step of Adam turns W does: with a deviation of 1, sqrt(fan_in) times less far.

    In eval mode without gradients, as actors and the target network use it, W is kept until a parameter changes.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride=stride, padding=(kernel - 1) // 2, groups=groups)
        self.gain = nn.Parameter(torch.ones(outputs, 1, 1, 1))
        self._kept: _Kept | None = None
        nn.init.normal_(self.weight, std=self.weight[0].numel() ** -0.5)
        nn.init.zeros_(self.bias)  # type: ignore[arg-type]

    def forward(
        self, input: Tensor, scale: float = 1.0, *, skip_gain: Tensor | None = None, alpha: float = 1.0
    ) -> Tensor:
        """Convolve scale * input, and multiply by alpha skip_gain: [B, inputs, H, W] -> [B, outputs, H', W'].

        These factors are multiplied into weights and bias: a pass over the images costs far more.
        """
        weight, bias = self._folded(scale, skip_gain, alpha)
        return functional.conv2d(input, weight, bias, self.stride, self.padding, groups=self.groups)

    def _folded(self, scale: float, skip_gain: Tensor | None, alpha: float) -> tuple[Tensor, Tensor]:
        """Return weights and bias with all factors, kept ones if they are still right."""
        sources = [source for source in (self.weight, self.bias, self.gain, skip_gain) if source is not None]
        if self.training or torch.is_grad_enabled() or torch.compiler.is_compiling() or self.weight.is_inference():
            self._kept = None  # a fused optimiser does not count its changes in `_version`, but it needs a gradient
            return self._fold(scale, skip_gain, alpha)
        versions = [source._version for source in sources]
        settings, kept = (scale, alpha, product_type(self.weight)), self._kept
        if kept is None or not kept.is_of(sources, versions, settings):
            weight, bias = (part.to(settings[-1]) for part in self._fold(scale, skip_gain, alpha))
            kept = self._kept = _Kept(sources, versions, settings, weight, bias)
        return kept.weight, kept.bias

    def _fold(self, scale: float, skip_gain: Tensor | None, alpha: float) -> tuple[Tensor, Tensor]:
        rows, bias = self.weight.permute(0, 2, 3, 1), self.bias  # weights are channels-last: this copies nothing
        assert bias is not None
        fan_in = rows[0].numel()
        standard = functional.layer_norm(rows.flatten(1), (fan_in,), eps=1e-4 / fan_in)
        factor = self.gain.flatten(1) * (scale * alpha / math.sqrt(fan_in))
        if skip_gain is not None:
            factor, bias = factor * skip_gain, bias * (alpha * skip_gain)
        return (standard * factor).view(rows.shape).permute(0, 3, 1, 2), bias

    def _apply(self, *arguments: Any, **options: Any) -> Self:
        """Move or cast, as any module does, and forget the kept weights: this is no new version."""
        self._kept = None
        return super()._apply(*arguments, **options)  # type: ignore[no-any-return,no-untyped-call]

    def __getstate__(self) -> dict[str, Any]:
        """Leave the kept weights out of copies: they belong to this module's parameters."""
        return {**self.__dict__, "_kept": None}


class NFBlock(nn.Module):
    """Bottleneck residual block without normalisation: x + alpha skip_gain f(x / expected_std)."""

    def __init__(
        self, inputs: int, outputs: int, *, stride: int, group_width: int, expected_std: float, alpha: float
    ) -> None:
        super().__init__()
        hidden = max(1, outputs // 2)
        groups = max(1, hidden // group_width)
        hidden = groups * max(1, hidden // groups)
        self._beta, self._alpha = 1.0 / expected_std, alpha
        self.reduce = ScaledConv2d(inputs, hidden, 1)
        self.spatial = ScaledConv2d(hidden, hidden, 3, stride=stride, groups=groups)
        self.spatial_2 = ScaledConv2d(hidden, hidden, 3, groups=groups)
        self.expand = ScaledConv2d(hidden, outputs, 1)
        self.skip_gain = nn.Parameter(torch.zeros(()))
        self._stride = stride
        self.shortcut = ScaledConv2d(inputs, outputs, 1) if inputs != outputs or stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block: [B, inputs, H, W] -> [B, outputs, H', W']; a stride halves H and W, rounded up."""
        out: Tensor = functional.relu(x)
        shortcut, scale = x, RELU_GAIN * self._beta
        if self.shortcut is not None:
            pooled = functional.avg_pool2d(out, 2, ceil_mode=True) if self._stride > 1 else out
            shortcut = self.shortcut(pooled, scale)
        out = self.reduce(out, scale)
        out = self.spatial(functional.relu_(out), RELU_GAIN)
        out = self.spatial_2(functional.relu_(out), RELU_GAIN)
        out = self.expand(functional.relu_(out), RELU_GAIN, skip_gain=self.skip_gain, alpha=self._alpha)
        return out.add_(shortcut)
