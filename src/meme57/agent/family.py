"""The family of N policies: one discount and one intrinsic weight each."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PolicyFamily:
    """Discounts fall and intrinsic weights rise with j; j = 0 is the exploiting policy."""

    gammas: Tensor  # [N] float64
    betas: Tensor  # [N] float64

    @classmethod
    def ladder(cls, *, num_policies: int, gamma_max: float, gamma_min: float, beta_max: float) -> PolicyFamily:
        """Make the ladder of discounts and betas of NGU and Agent57.

            gamma_j = 1 - exp(((N-1-j) log(1 - gamma_max) + j log(1 - gamma_min)) / (N-1))
            beta_0 = 0,  beta_{N-1} = beta_max,  otherwise beta_max sigmoid(10 (2j - (N-2)) / (N-2))

        N = 1 is gamma_max with beta 0; N = 2 has betas (0, beta_max).
        Source: spacing NGU [inherited]; ends MEME [reported].

        Raises:
            ValueError: num_policies < 1.
        """
        n = num_policies
        if n < 1:
            raise ValueError(f"num_policies={n}: a family has at least one policy")
        if n == 1:
            return cls(torch.tensor([gamma_max], dtype=torch.float64), torch.zeros(1, dtype=torch.float64))
        low, high = math.log(1.0 - gamma_max), math.log(1.0 - gamma_min)
        gammas = [1.0 - math.exp(((n - 1 - j) * low + j * high) / (n - 1)) for j in range(n)]
        betas = [_beta(j, n, beta_max) for j in range(n)]
        return cls(torch.tensor(gammas, dtype=torch.float64), torch.tensor(betas, dtype=torch.float64))

    @property
    def num_policies(self) -> int:
        """N."""
        return len(self.gammas)


def _beta(j: int, n: int, beta_max: float) -> float:
    if j == 0:
        return 0.0
    if j == n - 1:
        return beta_max
    return beta_max / (1.0 + math.exp(-10.0 * (2 * j - (n - 2)) / (n - 2)))
