"""Frames as networks see them: centred on what the game always shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

FIT_FRAMES = 256
"""Frames that `fit` converts at a time."""


class FrameNormaliser(nn.Module):
    """Frames [M, H, W] -> [M, 1, H, W] float, centred and scaled.

    An image (uint8) becomes (frame / 255 - mean) * scale, with one mean per pixel and one scale for all. A vector
    (float32, H = 1) becomes (frame - mean) * scale, with both a number of its own: they may have different units.

    An Atari picture is nearly constant: without centring, moving objects make up a hundredth of the torso's output, and
    the other inputs of the LSTM drown it. At first, mean is 0 and scale 1. `fit` is called once, before the first
    update, on the experience of the untrained agent. Source: ours (RND also normalises its frames).
    """

    def __init__(self, height: int, width: int, dtype: str = "uint8") -> None:
        super().__init__()
        self._is_image = dtype == "uint8"
        self.register_buffer("mean", torch.zeros(height, width))
        self.register_buffer("scale", torch.ones(()) if self._is_image else torch.ones(height, width))
        self.mean: Tensor
        self.scale: Tensor

    def forward(self, frames: Tensor) -> Tensor:
        """Normalise frames: [M, H, W] -> [M, 1, H, W] float. One channel is both channels-first and -last."""
        if not self._is_image:
            return torch.sub(frames, self.mean).mul_(self.scale).unsqueeze(1)
        return torch.sub(frames, 255.0 * self.mean).mul_(self.scale / 255.0).unsqueeze(1)

    @property
    def is_fitted(self) -> bool:
        """Whether `fit` was called: no game's mean frame is black."""
        return bool(self.mean.any())

    def fit(self, frames: Tensor) -> None:
        """Set mean and scale from frames [M, H, W], so that an image's centred pixels have a root mean square of one.

        So does each number of a vector, except one that hardly varied (by less than 0.01): it is only centred.
        """
        total, squares = (torch.zeros_like(self.mean, dtype=torch.float64) for _ in range(2))
        for part in self._portions(frames):
            total += part.sum(0)
        self.mean.copy_(total / len(frames))
        for part in self._portions(frames):
            squares += (part - self.mean).square().sum(0)
        variance = (squares / len(frames)).mean() if self._is_image else squares / len(frames)
        deviation = variance.sqrt()
        scale = 1.0 / deviation.clamp_min(1e-2)
        self.scale.copy_(scale if self._is_image else torch.where(deviation < 1e-2, 1.0, scale))

    def _portions(self, frames: Tensor) -> Iterator[Tensor]:
        """Yield the frames in parts, as float64 on this module's device: whole they may be many gigabytes."""
        for start in range(0, len(frames), FIT_FRAMES):
            numbers = frames[start : start + FIT_FRAMES].to(self.mean.device).double()
            yield numbers / 255.0 if self._is_image else numbers


def shift(images: Tensor, offsets: Sequence[tuple[int, int]], *, most: int) -> Tensor:
    """Move the pictures of each of B sequences, and repeat the pixels of the edge where nothing is left.

    Args:
        images: [B * T, 1, H, W], sequence by sequence.
        offsets: of each sequence, how far its pictures move up and to the left; each number in [-most, most].
        most: pixels.

    Returns:
        [B * T, 1, H, W].

    Source: DrQ (Kostrikov et al., 2021), which moves each observation on its own. Here motion within a sequence stays.
    """
    height, width = images.shape[-2:]
    padded = functional.pad(images, (most, most, most, most), mode="replicate")
    moved = [
        sequence[..., most + up : most + up + height, most + left : most + left + width]
        for sequence, (up, left) in zip(padded.chunk(len(offsets)), offsets, strict=True)
    ]
    return torch.cat(moved)
