"""From a frame to features: NFNet, the torsos of IMPALA and DQN, a small one for CPUs, and one for vectors of numbers.

A new torso is a class and its entry in `TORSOS`, or a class of the user's, named by its path.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from typing import ClassVar, Protocol, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from meme57.agent.nfnet import NFBlock, ScaledConv2d, scaled_relu
from meme57.agent.parameters import NetworkSpec
from meme57.errors import ConfigurationError, one_line


class Torso(nn.Module):
    """The layers that read the frame, centred and scaled: [B, 1, H, W] -> [B, num_features]."""

    smallest: ClassVar[int] = 1
    """Smallest side of an image that it can read, in pixels."""
    num_features: int

    @classmethod
    def of(cls, spec: NetworkSpec) -> Self:
        """Build the torso that `spec` describes, by default `cls(height, width)`."""
        return cls(spec.height, spec.width)


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
                    NFBlock(
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


class _Convolutional(Torso):
    """A torso that is a stack of layers, whose output is flattened."""

    layers: nn.Sequential

    def forward(self, frames: Tensor) -> Tensor:
        """Extract features: [B, 1, H, W] -> [B, D]."""
        out: Tensor = self.layers(frames)
        return out.flatten(1)


class _ImpalaBlock(nn.Module):
    """Residual block of two convolutions: x + conv(relu(conv(relu(x))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, 3, padding=1)
        self.convolution_2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.convolution_2(functional.relu_(self.convolution(functional.relu(x))))
        return out.add_(x)


class ImpalaTorso(_Convolutional):
    """The larger torso of IMPALA (Espeholt et al., 2018), without its linear layer: [B, 1, H, W] -> [B, D].

    Each stage is a convolution, a maximum over 3 x 3 with stride 2, and two residual blocks.
    """

    smallest = 16

    def __init__(self, height: int, width: int, *, channels: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 1
        for outputs in channels:
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.MaxPool2d(3, stride=2, padding=1)]
            layers += [_ImpalaBlock(outputs), _ImpalaBlock(outputs)]
            inputs = outputs
        self.layers = nn.Sequential(*layers, nn.ReLU())
        self.num_features = _num_features(self, height, width)

    @classmethod
    def of(cls, spec: NetworkSpec) -> Self:
        """Build it with the channels of the spec."""
        return cls(spec.height, spec.width, channels=spec.impala_channels)


class NatureTorso(_Convolutional):
    """The torso of DQN (Mnih et al., 2015), without its linear layer: [B, 1, H, W] -> [B, D]."""

    smallest = 36

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.layers = _convolutions(height, width, (32, 8, 4), (64, 4, 2), (64, 3, 1))
        self.num_features = _num_features(self, height, width)


class SmallTorso(_Convolutional):
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
    "impala": ImpalaTorso,
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
