"""From raw observations to what the agent sees: a gray image of the configured size, or a vector of numbers."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from meme57.errors import EnvironmentSetupError

LUMA = np.array([0.2989, 0.5870, 0.1140], np.float32)
"""Weights of red, green and blue, as ALE has them."""


def to_frames(observations: npt.NDArray[Any], *, height: int, width: int, dtype: str) -> npt.NDArray[Any]:
    """Turn observations into frames [E, height, width].

    Args:
        observations: uint8 images [E, H, W], [E, H, W, 1] or [E, H, W, 3] for `dtype` uint8, else numbers [E, D].

    Raises:
        EnvironmentSetupError: a number of a vector is not finite.
    """
    if dtype == "uint8":
        return resize(to_gray(observations), height, width)
    vectors = observations.reshape(len(observations), 1, -1).astype(np.float32)
    if not np.isfinite(vectors).all():
        raise EnvironmentSetupError(f"an observation holds a number that is not finite: {vectors[:, 0].tolist()}")
    return vectors


def to_gray(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Make images gray: [E, H, W], [E, H, W, 1] or [E, H, W, 3] -> [E, H, W]."""
    if images.ndim == 3:
        return images
    if images.shape[-1] == 1:
        return images[..., 0]
    gray: npt.NDArray[np.uint8] = np.rint(images.astype(np.float32) @ LUMA).astype(np.uint8)
    return gray


def resize(images: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    """Resize images [E, H, W] -> [E, height, width]: each pixel is the mean over the area that it covers."""
    if images.shape[1:] == (height, width):
        return images
    rows, columns = _shares(images.shape[1], height), _shares(images.shape[2], width)
    means = rows @ images.astype(np.float32) @ columns.T
    resized: npt.NDArray[np.uint8] = np.rint(means).clip(0, 255).astype(np.uint8)
    return resized


@functools.cache
def _shares(before: int, after: int) -> npt.NDArray[np.float32]:
    """Return the share that each old pixel has in each new one, [after, before]; rows sum to 1."""
    edges = np.linspace(0, before, after + 1)
    old = np.arange(before)
    overlap = np.minimum(edges[1:, None], old + 1) - np.maximum(edges[:-1, None], old)
    shares = overlap.clip(0.0)
    normalised: npt.NDArray[np.float32] = (shares / shares.sum(1, keepdims=True)).astype(np.float32)
    return normalised
