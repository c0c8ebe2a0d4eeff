"""h and h^-1: hand values, and inverse of one another over the whole range of returns."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from meme57.agent.transforms import signed_hyperbolic, signed_parabolic


def test_hand_values() -> None:
    # h(3) = sqrt(4) - 1 + 0.003;  h(-8) = -(sqrt(9) - 1) - 0.008;  h(99) = 10 - 1 + 0.099
    x = torch.tensor([0.0, 3.0, -8.0, 99.0], dtype=torch.float64)
    y = torch.tensor([0.0, 1.003, -2.008, 9.099], dtype=torch.float64)
    torch.testing.assert_close(signed_hyperbolic(x), y, rtol=1e-12, atol=0)
    torch.testing.assert_close(signed_parabolic(y), x, rtol=1e-10, atol=1e-12)


def test_eps_is_the_linear_part() -> None:
    x = torch.tensor([3.0, -3.0], dtype=torch.float64)
    torch.testing.assert_close(signed_hyperbolic(x, eps=0.1), torch.tensor([1.3, -1.3], dtype=torch.float64))
    torch.testing.assert_close(signed_parabolic(signed_hyperbolic(x, eps=0.1), eps=0.1), x)


def test_inverse_equals_the_printed_formula() -> None:
    eps = 1e-3
    for y in (-30.0, -2.5, -0.1, 0.4, 7.0, 120.0):
        printed = math.copysign(((math.sqrt(1 + 4 * eps * (abs(y) + 1 + eps)) - 1) / (2 * eps)) ** 2 - 1, y)
        assert signed_parabolic(torch.tensor(y, dtype=torch.float64)).item() == pytest.approx(printed, rel=1e-9)


@given(st.floats(min_value=-1e6, max_value=1e6))
@settings(max_examples=300)
def test_inverse_of_h_is_the_identity_in_float64(x: float) -> None:
    back = signed_parabolic(signed_hyperbolic(torch.tensor(x, dtype=torch.float64))).item()
    assert back == pytest.approx(x, rel=1e-9, abs=1e-12)


@given(st.floats(min_value=-1e6, max_value=1e6, width=32))
@settings(max_examples=300)
def test_inverse_of_h_is_the_identity_in_float32(x: float) -> None:
    # one rounding of h near 0 is 6e-8 (sqrt(|x| + 1) - 1), and h' is 1/2 there
    out = signed_parabolic(signed_hyperbolic(torch.tensor(x, dtype=torch.float32)))
    assert out.dtype == torch.float32
    assert out.item() == pytest.approx(x, rel=3e-6, abs=1e-6)


@given(st.floats(min_value=-1e6, max_value=1e6), st.floats(min_value=1e-3, max_value=1e3))
@settings(max_examples=100)
def test_h_rises_and_is_odd(x: float, step: float) -> None:
    pair = signed_hyperbolic(torch.tensor([x, x + step, -x], dtype=torch.float64))
    assert pair[1] > pair[0]
    assert pair[2] == -pair[0]


def test_zero_is_fixed_and_has_finite_gradient() -> None:
    x = torch.zeros(2, requires_grad=True)
    signed_hyperbolic(x).sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
