"""Frames as networks see them: centred on what the game always shows."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FrameNormaliser(nn.Module):
    """(frame / 255 - mean) * scale, with one mean per pixel and one scale for all; [M, H, W] uint8 -> [M, 1, H, W].

    An Atari picture is nearly constant: without centring, moving objects make up a hundredth of the torso's output, and
    the other inputs of the LSTM drown it. At first, mean is 0 and scale 1. `fit` is called once, before the first
    update, on the experience of the untrained agent. Source: ours (RND also normalises its frames).
    """

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(height, width))
        self.register_buffer("scale", torch.ones(()))
        self.mean: Tensor
        self.scale: Tensor

    def forward(self, frames: Tensor) -> Tensor:
        """Normalise frames: [M, H, W] uint8 -> [M, 1, H, W] float. One channel is both channels-first and -last."""
        return torch.sub(frames, 255.0 * self.mean).mul_(self.scale / 255.0).unsqueeze(1)

    def fit(self, frames: Tensor) -> None:
        """Set mean and scale from frames [M, H, W] uint8, so that the centred pixels have a root mean square of one."""
        scaled = frames.float() / 255.0
        self.mean.copy_(scaled.mean(0))
        self.scale.copy_(1.0 / (scaled - self.mean).square().mean().sqrt().clamp_min(1e-2))
