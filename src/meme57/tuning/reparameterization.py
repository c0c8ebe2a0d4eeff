"""Probabilistic reparameterisation: an acquisition over mixed parameters, maximised by gradient in expectation.

Each discrete parameter becomes a random variable; a continuous phi in the unit cube sets its distribution. An ordered
parameter has two neighbouring levels, a categorical one has all its choices. Adam maximises

    log E[exp a(x, z)],  z ~ p(z | phi)

over x and phi, where a is a log acquisition. Its maximum is the best feasible point, for p can put all its mass on it.
Source: Daulton et al. 2022 (NeurIPS). The logarithm outside the expectation is ours; it does not move the maximum. Log
EI is minus infinity at observed points, and the exponential turns that into a harmless 0.
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
"""Less likely configurations are left out of an exact expectation (ours: they take most of the time)."""
LOWEST = -1e9
"""Replaces minus infinity."""

Acquisition = Callable[[Tensor], Tensor]
"""Maps points `[M, D]` to log values `[M]`, differentiably."""


@dataclass(frozen=True)
class MixedSpace:
    """The coordinates of a point `[D]`: continuous in [0, 1], ordered with a grid, or categorical 0 .. K-1.

    phi `[R, F]` contains, in this order, the continuous coordinates, one number for each ordered parameter, and K for
    each categorical one. A categorical parameter with two choices may as well be an ordered one.
    """

    continuous: tuple[int, ...]
    ordered: tuple[int, ...]
    grids: tuple[Tensor, ...]
    """Values of each ordered parameter, in rising order, `[K]` with K >= 2."""
    categorical: tuple[int, ...]
    choices: tuple[int, ...]
    """Number of choices of each categorical parameter."""

    @property
    def num_coordinates(self) -> int:
        """The number D of coordinates."""
        return len(self.continuous) + len(self.ordered) + len(self.categorical)

    @property
    def num_features(self) -> int:
        """The number F of features in phi."""
        return len(self.continuous) + len(self.ordered) + sum(self.choices)

    @property
    def num_options(self) -> tuple[int, ...]:
        """Options of each discrete parameter for one phi: two neighbouring levels, or all choices."""
        return (2,) * len(self.ordered) + self.choices

    @property
    def num_configurations(self) -> int:
        """Number of configurations that can be drawn for one phi."""
        return math.prod(self.num_options)


class Options(NamedTuple):
    """The distributions of the discrete parameters at one phi."""

    floors: Tensor  # [R, O] the lower level of each ordered parameter
    log_probabilities: list[Tensor]  # one [R, options] for each discrete parameter


class Sampled(NamedTuple):
    """Unique (restart, configuration) pairs, and their weights in the estimate of each restart's expectation."""

    restarts: Tensor  # [M]
    options: Tensor  # [M, discrete]
    log_weights: Tensor  # [M] log of the probability, or of the share of the samples
    exact: bool


def distributions(phi: Tensor, space: MixedSpace) -> Options:
    """Make the distributions at phi `[R, F]`: two neighbouring levels, or a softmax of choices; temperature 0.1."""
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
    """List every configuration of every restart, except very unlikely ones."""
    options = all_options(space.num_options)
    with torch.no_grad():
        log_weights = joint_log_probability(log_probabilities, options)
        likely = log_weights >= math.log(LEAST_PROBABILITY)
        likely[torch.arange(len(likely)), log_weights.argmax(dim=1)] = True
    restarts, configurations = likely.nonzero(as_tuple=True)
    return Sampled(restarts, options[configurations], log_weights[restarts, configurations], True)


def drawn(log_probabilities: Sequence[Tensor], uniforms: Tensor) -> Sampled:
    """Draw configurations from uniform numbers `[N, discrete]`, the same for every restart; merge repeats."""
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
    """Compute the points `[M, D]` of the pairs."""
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
    """Estimate log E[exp a] of each restart `[R]`, and a scalar whose gradient is the gradient of their sum.

    Let w be the share of a pair in its restart's expectation. With all configurations, the gradient is
    sum w (d log p + d a). With samples, the score function has a baseline, the mean of the other samples. Then the
    coefficient of d log p is N / (N - 1) (w - share of the samples).

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
    """Compute log p of each pair `[M]`."""
    total = torch.zeros(len(sampled.restarts), dtype=log_probabilities[0].dtype)
    for d, log_p in enumerate(log_probabilities):
        total = total + log_p[sampled.restarts, sampled.options[:, d]]
    return total


def joint_log_probability(log_probabilities: Sequence[Tensor], options: Tensor) -> Tensor:
    """Compute log p of every configuration for every restart, `[R, C]`; options `[C, discrete]`."""
    return torch.stack([log_p[:, options[:, d]] for d, log_p in enumerate(log_probabilities)]).sum(dim=0)


def all_options(num_options: Sequence[int]) -> Tensor:
    """List every combination, `[C, discrete]`."""
    return torch.tensor(list(itertools.product(*map(range, num_options))), dtype=torch.long)


def finite_values(acquisition: Acquisition, x: Tensor) -> tuple[Tensor, Tensor]:
    """Compute values `[M]` and gradients `[M, D]` of the acquisition, without infinities and NaN."""
    x = x.detach().requires_grad_(True)
    values = acquisition(x)
    gradient = torch.autograd.grad(values.sum(), x)[0] if values.requires_grad else torch.zeros_like(x)
    values = torch.nan_to_num(values.detach(), nan=LOWEST, posinf=-LOWEST, neginf=LOWEST)
    return values, torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)
