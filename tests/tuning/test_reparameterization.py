"""The distributions, the two estimates of log E[exp a] and their gradients, against sums over every configuration."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from meme57.tuning import reparameterization as pr
from meme57.tuning.ascent import maximise, start_features
from meme57.tuning.reparameterization import MixedSpace

GRID = torch.tensor([0.1, 0.3, 0.6, 0.9], dtype=torch.float64)
SPACE = MixedSpace((0,), (1, 2), (GRID, torch.tensor([0.0, 1.0], dtype=torch.float64)), (3,), (3,))
"""One continuous, one of four levels, one binary, one of three choices."""


def acquisition(x: Tensor) -> Tensor:
    """Smooth in the continuous coordinate, with interactions; between -4 and 2."""
    bump = -8 * (x[:, 0] - 0.2 - 0.5 * x[:, 2]) ** 2
    return bump + torch.sin(5 * x[:, 1] + x[:, 3]) + 0.5 * x[:, 2] * (x[:, 3] == 1)


def features(seed: int, restarts: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(restarts, SPACE.num_features, generator=generator, dtype=torch.float64)


def estimate(phi: Tensor, *, uniforms: Tensor | None) -> tuple[Tensor, Tensor]:
    """The estimates `[R]` and the gradient of their sum `[R, F]`."""
    phi = phi.clone().requires_grad_(True)
    floors, log_p = pr.distributions(phi, SPACE)
    sampled = pr.enumerated(log_p, SPACE) if uniforms is None else pr.drawn(log_p, uniforms)
    x = pr.points(phi, floors, sampled, SPACE)
    num_samples = 0 if uniforms is None else len(uniforms)
    log_probability = pr.pair_log_probability(log_p, sampled)
    values, objective = pr.surrogate(log_probability, acquisition(x), sampled, len(phi), num_samples=num_samples)
    objective.backward()
    assert phi.grad is not None
    return values, phi.grad


def brute_force(phi: Tensor) -> Tensor:
    """log E[exp a] of each restart by loops over levels and choices, differentiable."""
    totals = []
    for row in phi:
        position = 3 * row[1]
        floor = min(int(position), 2)
        up = torch.sigmoid((position - floor - 0.5) / 0.1)
        on = torch.sigmoid((row[2] - 0.5) / 0.1)
        choice = torch.softmax((row[3:] - 0.5) / 0.1, dim=0)
        total = torch.zeros((), dtype=torch.float64)
        for step, p_level in ((0, 1 - up), (1, up)):
            for bit, p_bit in ((0.0, 1 - on), (1.0, on)):
                for k in range(3):
                    rest = torch.tensor([GRID[floor + step], bit, float(k)], dtype=torch.float64)
                    x = torch.cat([row[:1], rest])[None]
                    total = total + p_level * p_bit * choice[k] * acquisition(x)[0].exp()
        totals.append(total.log())
    return torch.stack(totals)


def test_hand_probabilities() -> None:
    # phi 0.55 of four levels is position 1.65: level 1 or 2, up with sigma((0.65 - 0.5) / 0.1) = 1 / (1 + e^-1.5).
    phi = torch.tensor([[0.0, 0.55, 0.5, 0.5, 0.5, 0.6]], dtype=torch.float64)
    floors, log_p = pr.distributions(phi, SPACE)
    assert floors.tolist() == [[1, 0]]
    assert log_p[0][0].exp().tolist() == pytest.approx([1 - 0.817574, 0.817574], abs=1e-6)
    assert log_p[1][0].exp().tolist() == pytest.approx([0.5, 0.5])
    # softmax of (0, 0, 1): 1 / (2 + e), e / (2 + e)
    assert log_p[2][0].exp().tolist() == pytest.approx([0.211942, 0.211942, 0.576117], abs=1e-6)


def test_the_upper_edge_belongs_to_the_last_two_levels() -> None:
    phi = torch.ones(1, SPACE.num_features, dtype=torch.float64)
    floors, log_p = pr.distributions(phi, SPACE)
    assert floors.tolist() == [[2, 0]]
    assert log_p[0][0, 1].exp().item() == pytest.approx(1 / (1 + math.exp(-5)))


def test_enumeration_equals_brute_force_in_value_and_gradient() -> None:
    phi = features(0)
    exact = phi.clone().requires_grad_(True)
    brute_force(exact).sum().backward()
    values, gradient = estimate(phi, uniforms=None)
    torch.testing.assert_close(values, brute_force(phi), atol=1e-4, rtol=0)
    torch.testing.assert_close(gradient, exact.grad, atol=1e-3, rtol=1e-3)


def test_the_monte_carlo_gradient_agrees_with_enumeration() -> None:
    """Over many draws of 128 the mean gradient is the exact one, within four standard errors and a small bias."""
    phi = features(1)
    _, exact = estimate(phi, uniforms=None)
    engine = torch.quasirandom.SobolEngine(3, scramble=True, seed=3)
    draws = torch.stack([estimate(phi, uniforms=engine.draw(128, dtype=torch.float64))[1] for _ in range(400)])
    standard_error = draws.std(dim=0) / math.sqrt(len(draws))
    assert ((draws.mean(dim=0) - exact).abs() < 4 * standard_error + 0.02 * exact.abs() + 0.01).all()
    assert exact.abs().max() > 0.5


def test_one_large_draw_agrees_with_enumeration() -> None:
    phi = features(2)
    values, exact = estimate(phi, uniforms=None)
    uniforms = torch.quasirandom.SobolEngine(3, scramble=True, seed=5).draw(2**15, dtype=torch.float64)
    sampled_values, gradient = estimate(phi, uniforms=uniforms)
    torch.testing.assert_close(sampled_values, values, atol=0.02, rtol=0)
    torch.testing.assert_close(gradient, exact, atol=0.05, rtol=0.05)


def test_the_baseline_takes_most_of_the_noise() -> None:
    """Without the baseline the same draws scatter more: the score function's coefficient would be w, not w - share."""
    phi = features(4, restarts=1)
    engine = torch.quasirandom.SobolEngine(3, scramble=True, seed=7)
    with_baseline, without = [], []
    for _ in range(100):
        uniforms = engine.draw(128, dtype=torch.float64)
        with_baseline.append(estimate(phi, uniforms=uniforms)[1][0, 1:])
        without.append(_gradient_without_baseline(phi, uniforms)[0, 1:])
    scatter = [torch.stack(draws).std(dim=0).mean().item() for draws in (with_baseline, without)]
    assert scatter[0] < scatter[1]


def _gradient_without_baseline(phi: Tensor, uniforms: Tensor) -> Tensor:
    phi = phi.clone().requires_grad_(True)
    floors, log_p = pr.distributions(phi, SPACE)
    sampled = pr.drawn(log_p, uniforms)
    x = pr.points(phi, floors, sampled, SPACE)
    log_probability = pr.pair_log_probability(log_p, sampled)
    _, objective = pr.surrogate(
        log_probability, acquisition(x), sampled._replace(exact=True), len(phi), num_samples=len(uniforms)
    )
    objective.backward()
    assert phi.grad is not None
    return phi.grad


def test_pairs_are_unique_and_their_shares_sum_to_one() -> None:
    _, log_p = pr.distributions(features(6), SPACE)
    uniforms = torch.quasirandom.SobolEngine(3, scramble=True, seed=1).draw(128, dtype=torch.float64)
    sampled = pr.drawn(log_p, uniforms)
    pairs = torch.cat([sampled.restarts[:, None], sampled.options], dim=1)
    assert len(pairs.unique(dim=0)) == len(pairs) <= 5 * 12
    shares = torch.zeros(5, dtype=torch.float64).index_add(0, sampled.restarts, sampled.log_weights.exp())
    assert shares.tolist() == pytest.approx([1.0] * 5)


def test_minus_infinity_and_nan_do_not_spread() -> None:
    def observed(x: Tensor) -> Tensor:
        return torch.where(x[:, 0] < 0.5, torch.log(0 * x[:, 0]), torch.log(x[:, 0]))

    x = torch.tensor([[0.2], [0.8]], dtype=torch.float64)
    values, gradients = pr.finite_values(observed, x)
    assert values.tolist() == pytest.approx([pr.LOWEST, math.log(0.8)])
    assert torch.isfinite(gradients).all()


@pytest.mark.parametrize("most_enumerated", [1024, 0], ids=["enumerated", "sampled"])
@pytest.mark.parametrize("seed", range(2))
def test_the_ascent_finds_the_best_point(most_enumerated: int, seed: int) -> None:
    """At least the best of a fine grid over everything, minus 0.05."""
    line = torch.linspace(0, 1, 501, dtype=torch.float64)
    grid = torch.cartesian_prod(line, GRID, torch.tensor([0.0, 1.0]).double(), torch.arange(3).double())
    generator = torch.Generator().manual_seed(seed)
    starts = grid[torch.randint(len(grid), (20,), generator=generator)]
    phi = start_features(starts, SPACE, generator)
    best = maximise(acquisition, SPACE, phi, seed=seed, most_enumerated=most_enumerated)
    assert best.value >= acquisition(grid).max().item() - 0.05
    assert acquisition(best.point[None]).item() == pytest.approx(best.value)
    assert best.point[1].item() in GRID.tolist()
    assert best.point[3].item() in (0.0, 1.0, 2.0)
