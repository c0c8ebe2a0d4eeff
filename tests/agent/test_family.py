"""The ladder of discounts and intrinsic weights, against arithmetic and a scalar loop."""

from __future__ import annotations

import math

import pytest
import torch

from meme57.agent.family import PolicyFamily


def ladder(n: int, gamma_max: float = 0.9997, gamma_min: float = 0.97, beta: float = 0.1) -> PolicyFamily:
    return PolicyFamily.ladder(num_policies=n, gamma_max=gamma_max, gamma_min=gamma_min, beta_max=beta)


def test_three_policies_by_hand() -> None:
    family = ladder(3, gamma_max=0.99, gamma_min=0.9, beta=0.3)
    # the middle: 1 - exp((log 0.01 + log 0.1) / 2) = 1 - sqrt(0.001) = 0.9683772233983162
    assert family.gammas.tolist() == pytest.approx([0.99, 0.9683772233983162, 0.9], abs=1e-14)
    # N - 2 = 1, j = 1: 0.3 sigmoid(10 (2 - 1) / 1) = 0.3 / (1 + e^-10) = 0.29998638...
    assert family.betas.tolist() == pytest.approx([0.0, 0.3 / (1 + math.exp(-10)), 0.3], abs=1e-15)


def test_four_policies_have_half_the_weight_in_the_middle() -> None:
    # N - 2 = 2: j = 1 gives sigmoid(0) = 1/2, j = 2 gives sigmoid(10)
    assert ladder(4, beta=0.2).betas.tolist() == pytest.approx([0.0, 0.1, 0.2 / (1 + math.exp(-10)), 0.2], abs=1e-15)


@pytest.mark.parametrize("n", [3, 5, 8, 16, 32])
def test_equals_a_scalar_loop(n: int) -> None:
    family = ladder(n)
    for j in range(n):
        mixed = ((n - 1 - j) * math.log(1 - 0.9997) + j * math.log(1 - 0.97)) / (n - 1)
        assert family.gammas[j].item() == pytest.approx(1 - math.exp(mixed), abs=1e-14)
        x = 10 * (2 * j - (n - 2)) / (n - 2)
        beta = 0.0 if j == 0 else 0.1 if j == n - 1 else 0.1 * math.exp(x) / (1 + math.exp(x))
        assert family.betas[j].item() == pytest.approx(beta, abs=1e-15)


def test_ends_dtype_and_order() -> None:
    family = ladder(16)
    assert family.num_policies == 16
    assert family.gammas.dtype == family.betas.dtype == torch.float64
    assert family.gammas[0].item() == pytest.approx(0.9997, abs=1e-12)
    assert family.gammas[-1].item() == pytest.approx(0.97, abs=1e-12)
    assert (family.gammas.diff() < 0).all()
    assert (family.betas.diff() > 0).all()


def test_one_policy_exploits() -> None:
    family = ladder(1)
    assert family.gammas.tolist() == [0.9997]
    assert family.betas.tolist() == [0.0]


def test_two_policies_are_the_two_ends() -> None:
    family = ladder(2)
    assert family.gammas.tolist() == pytest.approx([0.9997, 0.97], abs=1e-12)
    assert family.betas.tolist() == [0.0, 0.1]


def test_no_policy_is_refused() -> None:
    with pytest.raises(ValueError, match="num_policies=0"):
        ladder(0)


def test_arguments_are_keywords() -> None:
    with pytest.raises(TypeError):
        PolicyFamily.ladder(3, 0.99, 0.9, 0.1)  # type: ignore[misc]
