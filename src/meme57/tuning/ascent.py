"""Maximise the reparameterised acquisition with Adam on all restarts at once; the result is the best point seen."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from meme57.tuning import reparameterization as pr
from meme57.tuning.reparameterization import Acquisition, MixedSpace

LEARNING_RATE = 1 / 40
NUM_STEPS = 200
NUM_SAMPLES = 128
PATIENCE_STEPS = 25
"""A restart ends if its expectation has not risen for so many steps (ours: it saves most of the steps)."""
LEAST_RISE = 1e-3


@dataclass
class Best:
    """The best point evaluated so far."""

    point: Tensor  # [D]
    value: float

    def offer(self, points: Tensor, values: Tensor) -> None:
        """Keep the highest of `values` `[M]` if it is higher than the best so far."""
        highest = int(values.argmax())
        if float(values[highest]) > self.value:
            self.point, self.value = points[highest].detach().clone(), float(values[highest])


def start_features(points: Tensor, space: MixedSpace, generator: torch.Generator) -> Tensor:
    """Make phi `[R, F]` whose distributions prefer `points` `[R, D]` but still allow their neighbours."""
    columns = [points[:, list(space.continuous)]]
    for coordinate, grid in zip(space.ordered, space.grids, strict=True):
        level = (points[:, coordinate, None] - grid).abs().argmin(dim=-1, keepdim=True)
        columns.append((level + 0.6 * _noise(len(points), 1, generator)) / (len(grid) - 1))
    for coordinate, size in zip(space.categorical, space.choices, strict=True):
        one_hot = torch.nn.functional.one_hot(points[:, coordinate].long(), size)
        columns.append(0.35 + 0.3 * one_hot + 0.2 * _noise(len(points), size, generator))
    phi = torch.cat(columns, dim=1)
    return phi.clamp(0.0, 1.0)


def _noise(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Draw uniform noise in [-0.5, 0.5]."""
    return torch.rand(rows, columns, generator=generator, dtype=torch.float64) - 0.5


def maximise(
    acquisition: Acquisition,
    space: MixedSpace,
    phi: Tensor,
    *,
    seed: int,
    most_enumerated: int,
) -> Best:
    """Ascend from phi `[R, F]`, exactly up to `most_enumerated` configurations, else with 128 Sobol samples."""
    exact = space.num_configurations <= most_enumerated
    sobol = None if exact else _sobol(len(space.num_options), seed)
    phi = phi.clone().requires_grad_(True)
    optimiser = torch.optim.Adam([phi], lr=LEARNING_RATE, maximize=True)
    best = Best(torch.empty(0), -torch.inf)
    highest = torch.full((len(phi),), -torch.inf, dtype=phi.dtype)
    idle = torch.zeros(len(phi), dtype=torch.long)
    for _ in range(NUM_STEPS):
        active = (idle < PATIENCE_STEPS).nonzero().squeeze(-1)
        if not len(active):
            break
        optimiser.zero_grad()
        uniforms = None if sobol is None else sobol.draw(NUM_SAMPLES, dtype=torch.float64)
        estimates = _backward(acquisition, space, phi[active], uniforms, best)
        optimiser.step()
        with torch.no_grad():
            phi.clamp_(0.0, 1.0)
        rose = estimates > highest[active] + LEAST_RISE
        idle[active] = torch.where(rose, 0, idle[active] + 1)
        highest[active] = torch.maximum(highest[active], estimates)
    return best


def _sobol(dimension: int, seed: int) -> torch.quasirandom.SobolEngine:
    return torch.quasirandom.SobolEngine(dimension, scramble=True, seed=seed)  # type: ignore[no-untyped-call]


def _backward(acquisition: Acquisition, space: MixedSpace, phi: Tensor, uniforms: Tensor | None, best: Best) -> Tensor:
    """Store the gradient in phi, offer the evaluated points to `best`, and return each restart's expectation `[R]`."""
    floors, log_probabilities = pr.distributions(phi, space)
    sampled = pr.enumerated(log_probabilities, space) if uniforms is None else pr.drawn(log_probabilities, uniforms)
    x = pr.points(phi, floors, sampled, space)
    values, gradients = pr.finite_values(acquisition, x)
    best.offer(x, values)
    through_x = values + ((x - x.detach()) * gradients).sum(dim=-1)
    log_probability = pr.pair_log_probability(log_probabilities, sampled)
    estimates, objective = pr.surrogate(log_probability, through_x, sampled, len(phi), num_samples=NUM_SAMPLES)
    objective.backward()  # type: ignore[no-untyped-call]
    return estimates
