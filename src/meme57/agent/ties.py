"""When one value counts as good as another: within rounding, so that no target depends on the machine."""

from __future__ import annotations

from torch import Tensor

TIE_TOLERANCE = 4e-6
"""At least ten times the rounding error between equal actions in float32, and below real differences (measured by
`benchmarks/ties.py`, docs/specification.md). It is relative to the largest value of a state, or to 1."""


def as_good(shortfall: Tensor, q: Tensor, *, tolerance: float = TIE_TOLERANCE) -> Tensor:
    """Grade from 1 down to 0 whether an action with this shortfall is still as good as the other one.

        clip(2 - 2 shortfall / (tolerance max(1, max_a |q(a)|)), 0, 1)

    It is 1 up to half the tolerance, 0 from the tolerance on, and linear between: there is no step that rounding could
    cross. The tolerance grows with the values, as rounding does. It stops shrinking at |q| = 1: values near 0 are
    differences of larger numbers and carry the rounding of those.

    Args:
        shortfall: [..., A], in the space of `q`; negative where the action is better.
        q: [..., A] values of all actions.
        tolerance: above 0.

    Source: ours.
    """
    scale = q.abs().amax(-1, keepdim=True).clamp_min(1.0)
    return (2.0 - 2.0 * shortfall / (tolerance * scale)).clamp(0.0, 1.0)
