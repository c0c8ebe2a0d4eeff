"""Scale, trust region, mixture and distillation: hand values, truth tables, loops, and where gradients flow."""

from __future__ import annotations

import itertools
import math
import statistics

import pytest
import torch
from torch import Tensor

from meme57.agent.losses import (
    combine_components,
    cross_mixture,
    distillation_loss,
    epsilon_greedy,
    td_scale,
    trust_region_mask,
)
from meme57.agent.ties import TIE_TOLERANCE


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ---- td_scale


def test_scale_by_hand() -> None:
    # policy 0: errors 1, 3 -> mean 2, population std 1;  policy 1: errors 5, 5 -> 0, so the floor;  policy 2: running
    errors = torch.tensor([[[1.0, 5.0, 1.0]], [[3.0, 5.0, 3.0]]])
    sigma = td_scale(torch.tensor([0.5, 0.0, 7.0]), errors, torch.ones(2, 1, dtype=torch.bool), floor=0.01)
    assert sigma.tolist() == pytest.approx([1.0, 0.01, 7.0])


def test_scale_equals_a_loop() -> None:
    errors, mask, running = random(6, 4, 3), random(6, 4, seed=1) > 0, torch.tensor([0.0, 0.9, 5.0]).double()
    errors[~mask] = 1e9
    sigma = td_scale(running, errors, mask, floor=0.01)
    for j in range(3):
        kept = [errors[t, b, j].item() for t in range(6) for b in range(4) if mask[t, b]]
        assert sigma[j].item() == pytest.approx(max(running[j].item(), statistics.pstdev(kept), 0.01), rel=1e-12)


def test_scale_of_no_step_is_running_or_floor() -> None:
    errors = torch.full((2, 3, 2), torch.nan)
    sigma = td_scale(torch.tensor([0.3, 0.0]), errors, torch.zeros(2, 3, dtype=torch.bool), floor=0.01)
    assert sigma.tolist() == pytest.approx([0.3, 0.01])


@pytest.mark.parametrize("padding", [math.nan, math.inf, -1e38])
def test_scale_ignores_padding(padding: float) -> None:
    errors, mask = random(5, 3, 2).float(), random(5, 3, seed=4) > 0
    clean = td_scale(torch.zeros(2), errors, mask, floor=0.01)
    errors[~mask] = padding
    assert torch.equal(td_scale(torch.zeros(2), errors, mask, floor=0.01), clean)


# ---- trust region


@pytest.mark.parametrize(
    ("q", "q_target", "target", "kept"),
    [
        (1.0, 0.0, 9.0, True),  # within alpha sigma = 2: always kept
        (1.0, 0.0, -9.0, True),
        (2.0, 0.0, 9.0, True),  # exactly alpha sigma is not beyond it
        (3.0, 0.0, 9.0, False),  # beyond, above the target network, and the target pulls further up
        (3.0, 0.0, 1.0, True),  # beyond, but pulled back
        (3.0, 0.0, -9.0, True),  # pulled back through the other side
        (-3.0, 0.0, -9.0, False),  # mirrored
        (-3.0, 0.0, -1.0, True),
        (3.0, 0.0, 3.0, False),  # sgn(Q - h(G)) = 0 differs from 1: dropped, and its loss is 0 anyway
        (0.0, 0.0, 5.0, True),  # no distance: within, though sgn 0 differs from sgn(0 - 5)
    ],
)
def test_trust_region_truth_table(q: float, q_target: float, target: float, kept: bool) -> None:
    mask = trust_region_mask(
        torch.tensor([q]), torch.tensor([q_target]), torch.tensor([target]), torch.tensor([1.0]), alpha=2.0
    )
    assert mask.dtype == torch.bool
    assert mask.tolist() == [kept]


def test_trust_region_with_zero_width_keeps_only_what_pulls_back_or_stands_still() -> None:
    q, q_target, targets = torch.tensor([1.0, 1.0, 0.0]), torch.zeros(3), torch.tensor([2.0, 0.0, 5.0])
    assert trust_region_mask(q, q_target, targets, torch.ones(3), alpha=0.0).tolist() == [False, True, True]


def test_trust_region_equals_a_loop() -> None:
    q, q_target, targets = 3 * random(4, 5, 3), random(4, 5, 3, seed=1), 3 * random(4, 5, 3, seed=2)
    sigma = torch.tensor([0.2, 1.0, 2.0]).double()
    mask = trust_region_mask(q, q_target, targets, sigma, alpha=1.5)

    def sgn(x: float) -> int:
        return (x > 0) - (x < 0)

    for t, b, j in itertools.product(range(4), range(5), range(3)):
        a, b_, g = q[t, b, j].item(), q_target[t, b, j].item(), targets[t, b, j].item()
        dropped = abs(a - b_) > 1.5 * sigma[j].item() and sgn(a - b_) != sgn(a - g)
        assert mask[t, b, j].item() is not dropped
    assert 0 < mask.sum() < mask.numel()


@pytest.mark.parametrize("sigma", [0.0, 1.0])
def test_infinite_width_keeps_everything(sigma: float) -> None:
    q = 100 * random(50, 2)
    kept = trust_region_mask(q, torch.zeros_like(q), 2 * q, torch.full((2,), sigma).double(), alpha=math.inf)
    assert kept.all()


# ---- mixtures


def test_cross_mixture_by_hand() -> None:
    # 0.25 L_2 + 0.75 mean(1, 2, 6) = 0.25 * 6 + 0.75 * 3 = 3.75
    mixed = cross_mixture(torch.tensor([1.0, 2.0, 6.0]), torch.tensor(2), eta=0.25)
    assert mixed.shape == ()
    assert mixed.item() == pytest.approx(3.75)


def test_cross_mixture_ends_and_loop() -> None:
    losses, behaviour = random(4, 3, 5), torch.randint(5, (4, 3), generator=torch.Generator().manual_seed(0))
    own, everyone = cross_mixture(losses, behaviour, eta=1.0), cross_mixture(losses, behaviour, eta=0.0)
    half = cross_mixture(losses, behaviour, eta=0.5)
    for t, b in itertools.product(range(4), range(3)):
        values = losses[t, b].tolist()
        assert own[t, b].item() == values[behaviour[t, b]]
        assert everyone[t, b].item() == pytest.approx(sum(values) / 5)
        assert half[t, b].item() == pytest.approx(0.5 * values[behaviour[t, b]] + 0.5 / 5 * sum(values))


def test_one_policy_makes_the_mixture_its_own_loss() -> None:
    losses = random(4, 3, 1)
    torch.testing.assert_close(cross_mixture(losses, torch.zeros(4, 3, dtype=torch.long), eta=0.3), losses[..., 0])


def test_components_by_hand() -> None:
    # beta 0: e alone;  beta 1: (4 + 2) / 2;  beta -3: (4 + 3 * 2) / 4
    combined = combine_components(torch.full((3,), 4.0), torch.full((3,), 2.0), torch.tensor([0.0, 1.0, -3.0]))
    assert combined.tolist() == [4.0, 3.0, 2.5]


# ---- distillation


def test_epsilon_greedy_by_hand() -> None:
    # A = 4, eps = 0.2: 0.8 + 0.05 on the greedy action, 0.05 elsewhere
    policy = epsilon_greedy(torch.tensor([0.0, 3.0, -1.0, 2.0]), epsilon=0.2)
    assert policy.tolist() == pytest.approx([0.05, 0.85, 0.05, 0.05])


def test_actions_that_are_equally_good_share() -> None:
    # A = 4, eps = 0.2: 0.8 / 2 + 0.05 on both;  nothing known yet: 1/4 each
    policy = epsilon_greedy(torch.tensor([[3.0, 0.0, 3.0, 2.0], [0.0, 0.0, 0.0, 0.0]]), epsilon=0.2)
    assert policy[0].tolist() == pytest.approx([0.45, 0.05, 0.45, 0.05])
    assert policy[1].tolist() == pytest.approx([0.25] * 4)


def test_the_share_falls_from_half_the_tolerance_to_the_tolerance() -> None:
    # weights of gaps 0, 1/2, 3/4 and 1 of the tolerance: 1, 1, 1/2, 0; eps = 0.2: 0.8 w / 2.5 + 0.05
    gaps = torch.tensor([0.0, 0.5, 0.75, 1.0], dtype=torch.float64) * TIE_TOLERANCE
    expected = [0.37, 0.37, 0.21, 0.05]
    for q in (-gaps, 0.5 - gaps, -0.25 - gaps):  # absolute up to |Q| = 1
        assert epsilon_greedy(q, epsilon=0.2).tolist() == pytest.approx(expected, abs=1e-9)
    for size in (3.0, 1e3, -1e3):  # in proportion from there on
        q = size - abs(size) * gaps
        assert epsilon_greedy(q, epsilon=0.2).tolist() == pytest.approx(expected, abs=1e-5)


def test_the_tolerance_is_a_keyword_with_a_default() -> None:
    q, logits = torch.tensor([1.0, 0.9]), torch.tensor([math.log(3.0), 0.0])
    assert epsilon_greedy(q, epsilon=0.0).tolist() == [1.0, 0.0]
    assert epsilon_greedy(q, epsilon=0.0, tolerance=0.4).tolist() == [0.5, 0.5]
    # -(ln 0.75 + ln 0.25) / 2
    loss, _ = distillation_loss(q, logits, logits, epsilon=0.0, max_kl=0.5, tolerance=0.4)
    assert loss.item() == pytest.approx(-(math.log(0.75) + math.log(0.25)) / 2, abs=1e-6)


def test_no_step_on_the_way_from_equal_to_clearly_worse() -> None:
    gaps = torch.linspace(0.0, 2.0 * TIE_TOLERANCE, 2001, dtype=torch.float64)
    policy = epsilon_greedy(torch.stack([torch.zeros_like(gaps), -gaps], dim=-1), epsilon=0.0)
    assert policy[0].tolist() == [0.5, 0.5]
    assert policy[-1].tolist() == [1.0, 0.0]
    steps = policy[1:, 0] - policy[:-1, 0]
    assert steps.min() >= 0.0
    assert steps.max() <= 2.0 * 2.0 / 2000  # a weight falls by 2/1000 in a step, a share by no more


def rounded(q: Tensor, generator: torch.Generator) -> Tensor:
    """Each value moved by up to half the spacing of float32 at the largest value of its state, or at 1."""
    size = q.abs().amax(-1, keepdim=True).clamp_min(1.0)
    return q + size * 2.0**-24 * torch.empty_like(q).uniform_(-1.0, 1.0, generator=generator)


@pytest.mark.parametrize("num_actions", [2, 4, 18])
@pytest.mark.parametrize("size", [1e-3, 1.0, 300.0])
def test_rounding_changes_no_target(num_actions: int, size: float) -> None:
    generator = torch.Generator().manual_seed(num_actions)
    q = size * torch.randn(20_000, num_actions, generator=generator, dtype=torch.float64)
    best, levels = q.amax(-1, keepdim=True), torch.rand(q.shape, generator=generator, dtype=torch.float64)
    levels[:, 0] = 0.0
    tied = torch.where(levels < 0.5, best, best - size * levels)  # half are the best ones, the others clearly worse
    near = best - 2.0 * TIE_TOLERANCE * max(size, 1.0) * levels  # all are near the edge
    for values, bound in ((tied, 1e-12), (near, 0.1)):
        before = epsilon_greedy(values, epsilon=1e-4)
        after = epsilon_greedy(rounded(values, generator), epsilon=1e-4)
        assert (after - before).abs().max() <= bound


def test_distillation_by_hand() -> None:
    # G = (0.9, 0.1) for eps = 0.2, pi = (3/4, 1/4): L = -(0.9 ln 0.75 + 0.1 ln 0.25)
    logits = torch.tensor([math.log(3.0), 0.0])
    loss, kept = distillation_loss(torch.tensor([1.0, 0.0]), logits, logits, epsilon=0.2, max_kl=0.5)
    assert loss.item() == pytest.approx(-(0.9 * math.log(0.75) + 0.1 * math.log(0.25)), abs=1e-6)
    assert kept.dtype == torch.bool
    assert kept.item() is True


def test_divergence_is_from_the_target_policy_to_the_online_one() -> None:
    # pi_T = (0.99, 0.01), pi = (1/2, 1/2): KL(pi_T || pi) = 0.637, KL(pi || pi_T) = 1.614
    target, online = torch.tensor([math.log(99.0), 0.0]), torch.zeros(2)
    for max_kl, kept in ((0.6, False), (0.7, True), (1.5, True)):
        assert distillation_loss(torch.ones(2), online, target, epsilon=0.0, max_kl=max_kl)[1].item() is kept


def test_no_divergence_is_kept_at_zero_tolerance() -> None:
    logits = random(10, 4)
    assert distillation_loss(random(10, 4, seed=1), logits, logits.clone(), epsilon=0.1, max_kl=0.0)[1].all()


def test_distillation_equals_a_loop_and_drops_to_zero() -> None:
    q, logits, target = random(6, 5, 4), random(6, 5, 4, seed=1), random(6, 5, 4, seed=2)
    loss, kept = distillation_loss(q, logits, target, epsilon=0.1, max_kl=0.5)
    assert 0 < kept.sum() < kept.numel()
    for t, b in itertools.product(range(6), range(5)):
        pi = [math.exp(x) / sum(math.exp(y) for y in logits[t, b].tolist()) for x in logits[t, b].tolist()]
        pi_t = [math.exp(x) / sum(math.exp(y) for y in target[t, b].tolist()) for x in target[t, b].tolist()]
        best = max(range(4), key=lambda a: q[t, b, a].item())
        teacher = [0.1 / 4 + (0.9 if a == best else 0.0) for a in range(4)]
        kl = sum(p * math.log(p / o) for p, o in zip(pi_t, pi, strict=True))
        assert kept[t, b].item() is (kl <= 0.5)
        expected = -sum(g * math.log(p) for g, p in zip(teacher, pi, strict=True)) if kl <= 0.5 else 0.0
        assert loss[t, b].item() == pytest.approx(expected, abs=1e-12)


def test_gradient_flows_through_the_logits_alone_and_not_where_dropped() -> None:
    q, logits, target = (random(6, 4, seed=seed).requires_grad_() for seed in range(3))
    loss, kept = distillation_loss(q, logits, target, epsilon=0.1, max_kl=0.5)
    loss.sum().backward()
    assert q.grad is None
    assert target.grad is None
    assert logits.grad is not None
    assert torch.equal(logits.grad.abs().sum(-1) > 0, kept)
    # softmax cross-entropy: d L / d logits = pi - G
    expected = (logits.softmax(-1) - epsilon_greedy(q, epsilon=0.1)).detach()
    torch.testing.assert_close(logits.grad[kept], expected[kept])


def test_parameters_are_keywords() -> None:
    x = torch.ones(2)
    with pytest.raises(TypeError):
        distillation_loss(x, x, x, 0.1, 0.5)  # type: ignore[misc]
    with pytest.raises(TypeError):
        cross_mixture(x, torch.tensor(0), 0.5)  # type: ignore[misc]
