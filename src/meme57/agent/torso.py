"""From a frame to features: NFNet, the Nature torso, a small one for CPUs, and one for vectors of numbers.

A new torso is a class and its entry in `TORSOS`, or a class of the user's, named by its path.
"""

from __future__ import annotations

import importlib
import math
import operator
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, Protocol, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from meme57.agent.parameters import NetworkSpec
from meme57.agent.precision import product_type
from meme57.errors import ConfigurationError, one_line

RELU_GAIN = math.sqrt(2.0 / (1.0 - 1.0 / math.pi))
"""Factor that keeps the variance of a ReLU's output at one for a normal input (Brock et al., 2021)."""


class Torso(nn.Module):
    """The layers that read the frame, centred and scaled: [B, 1, H, W] -> [B, num_features]."""

    smallest: ClassVar[int] = 1
    """Smallest side of an image that it can read, in pixels."""
    num_features: int

    @classmethod
    def of(cls, spec: NetworkSpec) -> Self:
        """Build the torso that `spec` describes, by default `cls(height, width)`."""
        return cls(spec.height, spec.width)


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

    In eval mode without gradients, as actors and the target network use it, W is kept until a parameter changes.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride=stride, padding=(kernel - 1) // 2, groups=groups)
        self.gain = nn.Parameter(torch.ones(outputs, 1, 1, 1))
        self._kept: _Kept | None = None
        nn.init.normal_(self.weight)
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


class _NFBlock(nn.Module):
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


class NFNetTorso(Torso):
    """Normaliser-free residual network.  [B, 1, H, W] in [0, 1] -> [B, D].

    Source: MEME [paper: an NFNet torso]; stem, widths, depths and flattening [ours].
    """

    smallest = 16

    def __init__(
        self, height: int, width: int, *, widths: Sequence[int], blocks: int, group_width: int, alpha: float = 0.2
    ) -> None:
        super().__init__()
        self.stem = ScaledConv2d(1, widths[0], 7, stride=4 if max(height, width) > 128 else 2)
        stages: list[nn.Module] = []
        inputs = widths[0]
        expected_variance = 1.0
        for outputs in widths:
            for block in range(blocks):
                stride = 2 if block == 0 else 1
                stages.append(
                    _NFBlock(
                        inputs, outputs, stride=stride, group_width=group_width,
                        expected_std=math.sqrt(expected_variance), alpha=alpha,
                    )
                )  # fmt: skip
                expected_variance = (1.0 if block == 0 else expected_variance) + alpha**2
                inputs = outputs
        self.blocks = nn.Sequential(*stages)
        self.num_features = _num_features(self, height, width)

    @classmethod
    def of(cls, spec: NetworkSpec) -> Self:
        """Build it with the widths and depths of the spec."""
        return cls(
            spec.height, spec.width,
            widths=spec.nfnet_widths, blocks=spec.nfnet_blocks, group_width=spec.nfnet_group_width,
        )  # fmt: skip

    def forward(self, frames: Tensor) -> Tensor:
        """Extract features: [B, 1, H, W] -> [B, D]."""
        out: Tensor = self.blocks(self.stem(frames))
        return scaled_relu(out).flatten(1)


class NatureTorso(Torso):
    """The torso of DQN (Mnih et al., 2015), without its linear layer: [B, 1, H, W] -> [B, D]."""

    smallest = 36

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.layers = _convolutions(height, width, (32, 8, 4), (64, 4, 2), (64, 3, 1))
        self.num_features = _num_features(self, height, width)

    def forward(self, frames: Tensor) -> Tensor:
        """Extract features: [B, 1, H, W] -> [B, D]."""
        out: Tensor = self.layers(frames)
        return out.flatten(1)


class SmallTorso(Torso):
    """Two convolutions, for a laptop: [B, 1, H, W] -> [B, D].  Kernels shrink on images under 40 pixels [ours]."""

    smallest = 16

    def __init__(self, height: int, width: int, *, channels: tuple[int, int]) -> None:
        super().__init__()
        kernels = ((8, 4), (4, 2)) if min(height, width) >= 40 else ((4, 2), (3, 2))
        self.layers = _convolutions(
            height, width, *((outputs, *kernel) for outputs, kernel in zip(channels, kernels, strict=True))
        )
        self.num_features = _num_features(self, height, width)

    @classmethod
    def of(cls, spec: NetworkSpec) -> Self:
        """Build it with the channels of the spec."""
        return cls(spec.height, spec.width, channels=spec.small_channels)

    def forward(self, frames: Tensor) -> Tensor:
        """Extract features: [B, 1, H, W] -> [B, D]."""
        out: Tensor = self.layers(frames)
        return out.flatten(1)


class MlpTorso(Torso):
    """Linear layers, each with a ReLU: [B, 1, H, W] -> [B, D].  Source: ours."""

    def __init__(self, height: int, width: int, *, sizes: Sequence[int]) -> None:
        super().__init__()
        inputs = (height * width, *sizes)
        self.layers = nn.Sequential(
            *(part for i, size in enumerate(sizes) for part in (nn.Linear(inputs[i], size), nn.ReLU()))
        )
        self.num_features = inputs[-1]

    @classmethod
    def of(cls, spec: NetworkSpec) -> Self:
        """Build it with the sizes of the spec."""
        return cls(spec.height, spec.width, sizes=spec.mlp_sizes)

    def forward(self, frames: Tensor) -> Tensor:
        """Extract features: [B, 1, H, W] -> [B, D]."""
        out: Tensor = self.layers(frames.flatten(1))
        return out


TORSOS: dict[str, type[Torso]] = {
    "nfnet": NFNetTorso,
    "nature": NatureTorso,
    "small": SmallTorso,
    "mlp": MlpTorso,
}
"""The torsos that `network.torso` names."""
KNOWN_NAMES = f"{', '.join(TORSOS)}, or a class of yours, my_package.my_torso:MyTorso"


def is_class_path(name: str) -> bool:
    """Say whether a torso's name is that of a user's class: `my_package.my_torso:MyTorso`."""
    return ":" in name


def torso_class(name: str) -> type[Torso]:
    """Find the torso of that name. A class path is imported, so the user must name it, never a file alone.

    Raises:
        ConfigurationError: there is none, it cannot be imported, or it is no `Torso`.
    """
    if name in TORSOS:
        return TORSOS[name]
    module, colon, attribute = name.partition(":")
    if not colon:
        raise ConfigurationError(f"network.torso={name!r} is not possible: choose one of {KNOWN_NAMES}")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # importing runs foreign code, which may raise anything
        raise ConfigurationError(
            f"network.torso={name} cannot be imported ({one_line(error)}): put the module's folder on PYTHONPATH"
        ) from error
    if not (isinstance(found, type) and issubclass(found, Torso)):
        raise ConfigurationError(f"network.torso={name} is no subclass of meme57.agent.torso.Torso: make it one")
    return found


def make_torso(spec: NetworkSpec) -> Torso:
    """Build the torso that the spec names.

    Raises:
        ConfigurationError: as `torso_class`; or a user's class cannot be made, or returns another shape than it says.
    """
    kind = torso_class(spec.torso)
    if not is_class_path(spec.torso):
        return kind.of(spec)
    try:
        torso = kind.of(spec)
        with torch.no_grad():
            out = torso.eval()(torch.zeros(2, 1, spec.height, spec.width))
        expected = (2, torso.num_features)
    except Exception as error:  # as above
        raise ConfigurationError(
            f"network.torso={spec.torso} fails on frames [2, 1, {spec.height}, {spec.width}]: {one_line(error)}"
        ) from error
    if not isinstance(out, Tensor) or tuple(out.shape) != expected:
        found = list(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise ConfigurationError(
            f"network.torso={spec.torso} returns {found} for frames [2, 1, {spec.height}, {spec.width}], and its "
            f"num_features is {torso.num_features}: it must return [2, num_features]"
        )
    return torso.train()


class FrameSpec(Protocol):
    """What a network's spec says of the frame."""

    @property
    def height(self) -> int:
        """Return it in pixels; 1 for a vector."""

    @property
    def width(self) -> int:
        """Return it in pixels, or numbers."""

    @property
    def frame_dtype(self) -> str:
        """Return uint8 for an image, float32 for a vector."""


def small_torso(spec: FrameSpec, channels: tuple[int, int], hidden_size: int) -> Torso:
    """Build the first layers of student and novelty networks: two convolutions, or two linear layers for a vector."""
    if spec.frame_dtype == "uint8":
        return SmallTorso(spec.height, spec.width, channels=channels)
    return MlpTorso(spec.height, spec.width, sizes=(hidden_size, hidden_size))


def zero_frames(spec: FrameSpec, batch: int) -> Tensor:
    """Return black images, or vectors of zeros, [batch, H, W]."""
    return torch.zeros(batch, spec.height, spec.width, dtype=getattr(torch, spec.frame_dtype))


def _convolutions(height: int, width: int, *layers: tuple[int, int, int]) -> nn.Sequential:
    """Build convolutions (channels, kernel, stride), each with a ReLU, on an image [1, H, W].

    Where a stride would leave out the last rows or columns, zeros are appended, so that every pixel is seen. An image
    of 84 x 84 needs none.
    """
    modules: list[nn.Module] = []
    inputs = 1
    for outputs, kernel, stride in layers:
        below, right = ((kernel - size) % stride for size in (height, width))
        if below or right:
            modules.append(nn.ZeroPad2d((0, right, 0, below)))
        modules += [nn.Conv2d(inputs, outputs, kernel, stride=stride), nn.ReLU()]
        inputs = outputs
        height, width = (math.ceil((size - kernel) / stride) + 1 for size in (height, width))
    return nn.Sequential(*modules)


def _num_features(torso: nn.Module, height: int, width: int) -> int:
    with torch.no_grad():
        return int(torso(torch.zeros(1, 1, height, width)).shape[1])
