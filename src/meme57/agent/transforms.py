"""The value transform, which brings values of any scale into a space where they are comparable."""

from __future__ import annotations

import torch
from torch import Tensor


def signed_hyperbolic(x: Tensor, *, eps: float = 1e-3) -> Tensor:
    """Compute h(x) = sgn(x) (sqrt(|x| + 1) - 1) + eps x, elementwise.

    Source: R2D2 [inherited]; MEME's table prints sqrt(x^2 + 1), read as a misprint.
    """
    return torch.sign(x) * (torch.sqrt(x.abs() + 1.0) - 1.0) + eps * x


def signed_parabolic(y: Tensor, *, eps: float = 1e-3) -> Tensor:
    """Compute h^-1(y) = sgn(y) (((sqrt(1 + 4 eps (|y| + 1 + eps)) - 1) / (2 eps))^2 - 1), elementwise.

    The root is rewritten as 2 (|y| + 1 + eps) / (sqrt(...) + 1), which does not cancel in float32.
    Source: R2D2 [inherited].
    """
    shifted = y.abs() + 1.0 + eps
    root = 2.0 * shifted / (torch.sqrt(1.0 + 4.0 * eps * shifted) + 1.0)
    return torch.sign(y) * (root.square() - 1.0)
