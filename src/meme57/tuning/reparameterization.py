"""Probabilistic reparameterisation: an acquisition over mixed parameters, maximised by gradient in expectation.

Each discrete parameter becomes a random variable whose distribution a continuous phi in the unit cube sets: two
neighbouring levels for an ordered parameter, all choices for a categorical one. What is maximised, by Adam, is

    log E[exp a(x, z)],  z ~ p(z | phi)

over x and phi, where a is a log acquisition. Its maximum is the best feasible point, for p can put all its mass there.
Source: Daulton et al. 2022 (NeurIPS). The logarithm outside the expectation is ours: it does not move the maximum, and
log EI is minus infinity at observed points, which the exponential turns into a harmless 0.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

TEMPERATURE = 0.1
LEAST_PROBABILITY = 1e-6
"""Less likely configurations are left out of an exact expectation (ours: they cost most of the time)."""
LOWEST = -1e9
"""What takes the place of minus infinity."""

Acquisition = Callable[[Tensor], Tensor]
"""Points `[M, D]` to log values `[M]`, differentiable."""


@dataclass(frozen=True)
class MixedSpace:
    """Which coordinates of a point `[D]` are continuous in [0, 1], ordered with a grid, or categorical 0 .. K-1.

    phi `[R, F]` holds, in this order, the continuous coordinates, one number for each ordered parameter, and K for each
    categorical one. A categorical parameter with two choices is as well ordered.
    """

    continuous: tuple[int, ...]
    ordered: tuple[int, ...]
    grids: tuple[Tensor, ...]
    """Values of each ordered parameter, rising, `[K]` with K >= 2."""
    categorical: tuple[int, ...]
    choices: tuple[int, ...]
    """Number of choices of each categorical parameter."""

    @property
    def num_coordinates(self) -> int:
        """D."""
        return len(self.continuous) + len(self.ordered) + len(self.categorical)

    @property
    def num_features(self) -> int:
        """F."""
        return len(self.continuous) + len(self.ordered) + sum(self.choices)

    @property
    def num_options(self) -> tuple[int, ...]:
        """Options of each discrete parameter for one phi: two neighbouring levels, or all choices."""
        return (2,) * len(self.ordered) + self.choices

    @property
    def num_configurations(self) -> int:
        """Configurations that can be drawn for one phi."""
        return math.prod(self.num_options)


class Options(NamedTuple):
    """The distributions of the discrete parameters at some phi."""

    floors: Tensor  # [R, O] the lower level of each ordered parameter
    log_probabilities: list[Tensor]  # one [R, options] for each discrete parameter


class Sampled(NamedTuple):
    """Unique (restart, configuration) pairs and what they weigh in the estimate of each restart's expectation."""

    restarts: Tensor  # [M]
    options: Tensor  # [M, discrete]
    log_weights: Tensor  # [M] log of the probability, or of the share of the samples
    exact: bool


def distributions(phi: Tensor, space: MixedSpace) -> Options:
    """Bernoulli for two levels, floor plus Bernoulli for more, softmax for choices; temperature 0.1. phi `[R, F]`."""
    first, last = len(space.continuous), len(space.continuous) + len(space.ordered)
    ordered = phi[:, first:last]
    tops = torch.tensor([len(grid) - 1 for grid in space.grids], dtype=phi.dtype)
    position = ordered * tops
    floors = torch.minimum(position.detach().floor(), tops - 1)
    logits = (position - floors - 0.5) / TEMPERATURE
    both = torch.stack([torch.nn.functional.logsigmoid(-logits), torch.nn.functional.logsigmoid(logits)], dim=-1)
    per_choice = torch.split(phi[:, last:], list(space.choices), dim=-1) if space.choices else ()
    softmax = [torch.log_softmax((block - 0.5) / TEMPERATURE, dim=-1) for block in per_choice]
    return Options(floors.long(), [*both.unbind(dim=1), *softmax])


def enumerated(log_probabilities: Sequence[Tensor], space: MixedSpace) -> Sampled:
    """Every configuration of every restart, but for the vanishingly unlikely ones."""
    options = all_options(space.num_options)
    with torch.no_grad():
        log_weights = joint_log_probability(log_probabilities, options)
        likely = log_weights >= math.log(LEAST_PROBABILITY)
        likely[torch.arange(len(likely)), log_weights.argmax(dim=1)] = True
    restarts, configurations = likely.nonzero(as_tuple=True)
    return Sampled(restarts, options[configurations], log_weights[restarts, configurations], True)


def drawn(log_probabilities: Sequence[Tensor], uniforms: Tensor) -> Sampled:
    """Configurations from uniform numbers `[N, discrete]`, the same numbers for every restart; repeats are merged."""
    num_samples = uniforms.shape[0]
    picked = []
    with torch.no_grad():
        for d, log_p in enumerate(log_probabilities):
            edges = log_p.exp().cumsum(dim=-1)[:, :-1]
            picked.append((uniforms[None, :, d, None] > edges[:, None, :]).sum(dim=-1))
        options = torch.stack(picked, dim=-1)
    num_restarts = options.shape[0]
    owners = torch.arange(num_restarts)[:, None, None].expand(-1, num_samples, 1)
    pairs, counts = torch.unique(torch.cat([owners, options], dim=-1).flatten(0, 1), dim=0, return_counts=True)
    log_weights = (counts / num_samples).to(uniforms.dtype).log()
    return Sampled(pairs[:, 0], pairs[:, 1:], log_weights, False)


def points(phi: Tensor, floors: Tensor, sampled: Sampled, space: MixedSpace) -> Tensor:
    """The points `[M, D]` that the pairs stand for."""
    x = torch.empty(len(sampled.restarts), space.num_coordinates, dtype=phi.dtype)
    x[:, list(space.continuous)] = phi[sampled.restarts, : len(space.continuous)]
    for d, (coordinate, grid) in enumerate(zip(space.ordered, space.grids, strict=True)):
        x[:, coordinate] = grid[floors[sampled.restarts, d] + sampled.options[:, d]]
    for d, coordinate in enumerate(space.categorical, start=len(space.ordered)):
        x[:, coordinate] = sampled.options[:, d].to(phi.dtype)
    return x


def surrogate(
    log_probability: Tensor, log_values: Tensor, sampled: Sampled, num_restarts: int, *, num_samples: int
) -> tuple[Tensor, Tensor]:
    """Estimates log E[exp a] of each restart `[R]`, and a scalar whose gradient is the gradient of their sum.

    With w the share of a pair in its restart's expectation, the gradient is sum w (d log p + d a) when every
    configuration is there. For samples the score function gets a baseline, the mean of the other samples, which makes
    the coefficient of d log p  N / (N - 1) (w - share of the samples).

    Args:
        log_probability: `[M]`, differentiable in phi.
        log_values: `[M]`, finite, differentiable in x.
    """
    terms = sampled.log_weights + log_values.detach()
    highest = torch.full((num_restarts,), -math.inf, dtype=terms.dtype)
    highest = highest.scatter_reduce(0, sampled.restarts, terms, "amax")
    mass = torch.zeros_like(highest).index_add(0, sampled.restarts, (terms - highest[sampled.restarts]).exp())
    estimates = highest + mass.log()
    share = (terms - estimates[sampled.restarts]).exp()
    score = share
    if not sampled.exact:
        score = num_samples / (num_samples - 1) * (share - sampled.log_weights.exp())
    return estimates, (score * log_probability + share * log_values).sum()


def pair_log_probability(log_probabilities: Sequence[Tensor], sampled: Sampled) -> Tensor:
    """log p of each pair `[M]`."""
    total = torch.zeros(len(sampled.restarts), dtype=log_probabilities[0].dtype)
    for d, log_p in enumerate(log_probabilities):
        total = total + log_p[sampled.restarts, sampled.options[:, d]]
    return total


def joint_log_probability(log_probabilities: Sequence[Tensor], options: Tensor) -> Tensor:
    """log p of every configuration for every restart, `[R, C]`; options `[C, discrete]`."""
    return torch.stack([log_p[:, options[:, d]] for d, log_p in enumerate(log_probabilities)]).sum(dim=0)


def all_options(num_options: Sequence[int]) -> Tensor:
    """Every combination, `[C, discrete]`."""
    return torch.tensor(list(itertools.product(*map(range, num_options))), dtype=torch.long)


def finite_values(acquisition: Acquisition, x: Tensor) -> tuple[Tensor, Tensor]:
    """Values `[M]` and gradients `[M, D]` of the acquisition, without infinities and NaN."""
    x = x.detach().requires_grad_(True)
    values = acquisition(x)
    gradient = torch.autograd.grad(values.sum(), x)[0] if values.requires_grad else torch.zeros_like(x)
    values = torch.nan_to_num(values.detach(), nan=LOWEST, posinf=-LOWEST, neginf=LOWEST)
    return values, torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)
