"""The objective against a loop over single numbers, its switches, and padding of any finite content."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from naive_objective import Batch, Result, naive_objective

from meme57.agent.family import PolicyFamily
from meme57.agent.network import NetworkOutput
from meme57.config.groups import LossParameters
from meme57.learning.learner import _metrics
from meme57.learning.objective import Objective, Scales, objective
from meme57.learning.tensors import TensorBatch

HEADS = {"e": "q_extrinsic", "i": "q_intrinsic", "pi": "logits"}
LENGTHS, TERMINAL = [6, 3, 1, 6, 4], [False, True, False, True, False]
FAMILY = PolicyFamily.ladder(num_policies=3, gamma_max=0.99, gamma_min=0.9, beta_max=0.3)
RUNNING = {"e": [0.1, 9.0, 0.0], "i": [0.0, 0.5, 4.0]}


@pytest.fixture(name="batch")
def _batch(make_tensors) -> TensorBatch:
    return make_tensors(lengths=LENGTHS, terminal=TERMINAL)


@pytest.fixture(name="online")
def _online(make_outputs) -> NetworkOutput:
    return make_outputs(6, 5, seed=1)


@pytest.fixture(name="target")
def _target(make_outputs, online) -> NetworkOutput:
    """Near enough for some steps to stay within the trust region and some not."""
    other = make_outputs(6, 5, seed=2)
    return NetworkOutput(*(a + 1.2 * b for a, b in zip(online[:3], other[:3], strict=True)), online.state, online.core)


def compute(
    online: NetworkOutput, target: NetworkOutput, batch: TensorBatch, family: PolicyFamily = FAMILY, /, **loss: Any
) -> tuple[Objective, dict[str, torch.Tensor]]:
    """The objective and its gradients; a head without a gradient has zeros."""
    leaves = online._replace(**{name: getattr(online, name).clone().requires_grad_() for name in HEADS.values()})
    scales = Scales(*(torch.tensor(RUNNING[z][: family.num_policies]).double() for z in "ei"))
    result = objective(leaves, target, batch, family, scales, LossParameters(**loss), priority_eta=0.9)
    result.loss.backward()
    gradients = {z: getattr(leaves, name).grad for z, name in HEADS.items()}
    return result, {z: torch.zeros_like(leaves.logits) if g is None else g for z, g in gradients.items()}


def compute_naively(
    online: NetworkOutput, target: NetworkOutput, batch: TensorBatch, family: PolicyFamily = FAMILY, /, **loss: Any
) -> Result:
    lists = Batch(
        batch.actions.tolist(), {"e": batch.rewards.tolist(), "i": batch.intrinsic_rewards.tolist()},
        batch.mu.tolist(), LENGTHS, TERMINAL, batch.policies.tolist(), batch.importance.tolist(),
    )  # fmt: skip
    heads = [{z: getattr(output, name).tolist() for z, name in HEADS.items()} for output in (online, target)]
    return naive_objective(
        *heads, lists, family.gammas.tolist(), family.betas.tolist(), RUNNING, LossParameters(**loss), priority_eta=0.9
    )


VARIANTS: dict[str, dict[str, Any]] = {
    "paper": {},
    "narrow trust region": {"trust_region_alpha": 0.3},
    "infinite trust region": {"trust_region_alpha": float("inf")},
    "no trust region": {"trust_region": False, "trust_region_alpha": 0.3},
    "raw errors": {"normalise_td": False},
    "behaviour policy alone": {"cross_mixture": False},
    "all policies alike": {"cross_mixture_eta": 0.0},
    "no distillation": {"distil_policy": False},
    "half a distillation": {"distillation_weight": 0.5, "distillation_epsilon": 0.2},
    "wide divergence": {"max_kl": float("inf")},
    "target bootstrap": {"bootstrap": "target"},
    "advantage learning": {"advantage_alpha": 0.9},
    "advantage learning, target bootstrap": {"advantage_alpha": 0.5, "bootstrap": "target"},
    "retrace": {"target": "retrace"},
    "retrace, target bootstrap": {"target": "retrace", "bootstrap": "target"},
    "q lambda": {"target": "q_lambda"},
    "wide kappa": {"kappa": 0.5},
    "infinite kappa": {"kappa": float("inf")},
    "one step": {"lambda_": 0.0},
    "full traces, warm policy": {"lambda_": 1.0, "target_temperature": 2.0},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_equals_a_loop_over_numbers(online, target, batch, variant: str) -> None:
    settings = VARIANTS[variant]
    result, gradients = compute(online, target, batch, **settings)
    naive = compute_naively(online, target, batch, **settings)
    assert result.value_loss.item() == pytest.approx(naive.value_loss, rel=1e-9)
    assert result.policy_loss.item() == pytest.approx(naive.policy_loss, rel=1e-9)
    assert result.loss.item() == pytest.approx(naive.loss, rel=1e-9)
    assert result.priorities.tolist() == pytest.approx(naive.priorities, rel=1e-9)
    if settings.get("normalise_td", True):
        assert result.extrinsic.sigma.tolist() == pytest.approx(naive.sigma["e"], rel=1e-9)
        assert result.intrinsic.sigma.tolist() == pytest.approx(naive.sigma["i"], rel=1e-9)
    expected = {z: torch.zeros_like(online.logits) for z in HEADS}
    for (z, *where), value in naive.gradients.items():
        expected[z][tuple(where)] = value
    for z in HEADS:
        torch.testing.assert_close(gradients[z], expected[z], rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("size", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("variant", ["paper", "no distillation", "no kappa"])
def test_nearly_equal_actions_equal_the_loop_too(online, target, batch, variant: str, size: float) -> None:
    settings = {**VARIANTS, "no kappa": {"kappa": 0.0}}[variant]
    level = torch.randint(4, online.logits.shape, generator=torch.Generator().manual_seed(0))
    levels = torch.tensor([0.0, 1e-6, 2.5e-6, 3.7e-6]).double()[level]
    near = size * (online.q_extrinsic[..., :1] - levels)
    online = online._replace(q_extrinsic=near, q_intrinsic=torch.zeros_like(near))
    result, gradients = compute(online, target, batch, **settings)
    naive = compute_naively(online, target, batch, **settings)
    assert result.loss.item() == pytest.approx(naive.loss, rel=1e-9)
    for (z, *where), value in naive.gradients.items():
        assert gradients[z][tuple(where)].item() == pytest.approx(value, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("settings", [{}, {"kappa": 0.0, "distil_policy": False}])
def test_rounding_of_equal_actions_changes_nothing(online, target, batch, settings: dict[str, Any]) -> None:
    # two of four actions are equal, and of two machines each adds its own rounding, of one part in 2 ** 23
    q = torch.cat([online.q_extrinsic[..., :2]] * 2, dim=-1)
    losses = []
    for seed in range(20):
        noise = 2.0**-23 * (torch.rand(q.shape, generator=torch.Generator().manual_seed(seed)).double() - 0.5)
        heads = {"q_extrinsic": q * (1.0 + noise), "q_intrinsic": torch.zeros_like(q)}
        result, _ = compute(online._replace(**heads), target, batch, **settings)
        losses.append(result.loss.item())
    assert losses == pytest.approx([losses[0]] * 20, rel=1e-6)


def test_the_case_exercises_every_branch(online, target, batch) -> None:
    naive = compute_naively(online, target, batch, trust_region_alpha=0.3)
    steps = sum(LENGTHS) * 3
    assert all(0 < count < steps for count in naive.num_dropped.values())
    result, _ = compute(online, target, batch, trust_region_alpha=0.3)
    dropped = [(~kept & batch.mask.unsqueeze(-1)).sum().item() for kept in (result.extrinsic.kept, result.policy_kept)]
    assert dropped == [naive.num_dropped["e"], naive.num_dropped["pi"]]
    assert naive.sigma["e"][1] == 9.0  # the running scale
    assert naive.sigma["e"][0] > 0.1  # the batch's


def test_one_policy_is_plain_q_learning(make_outputs, make_tensors) -> None:
    family = PolicyFamily.ladder(num_policies=1, gamma_max=0.99, gamma_min=0.9, beta_max=0.3)
    batch = make_tensors(lengths=LENGTHS, terminal=TERMINAL, num_policies=1)
    online, target = (make_outputs(6, 5, seed=seed, num_policies=1) for seed in (1, 2))
    mixed, gradients = compute(online, target, batch, family)
    naive = compute_naively(online, target, batch, family)
    assert mixed.loss.item() == pytest.approx(naive.loss, rel=1e-9)
    assert not gradients["i"].any()  # beta 0 trains Qe alone
    alone, _ = compute(online, target, batch, family, cross_mixture=False)
    assert alone.loss.item() == pytest.approx(mixed.loss.item(), rel=1e-12)


def test_one_step_targets_by_hand(make_outputs, make_tensors) -> None:
    # N = 1, gamma 0.99, lambda 0, eps-greedy 0: delta = h(r + 0.99 max_a h^-1(Q(x', a))) - Q(x, a), h^-1 monotonic
    family = PolicyFamily.ladder(num_policies=1, gamma_max=0.99, gamma_min=0.9, beta_max=0.0)
    batch = make_tensors(lengths=[6], terminal=[False], num_policies=1)
    online = make_outputs(6, 1, seed=1, num_policies=1)
    result, _ = compute(online, online, batch, family, lambda_=0.0, distil_policy=False, distillation_epsilon=0.0)
    for t in range(6):
        q, q_next = online.q_extrinsic[t, 0, 0], online.q_extrinsic[t + 1, 0, 0].max()
        g = batch.rewards[t, 0] + 0.99 * (
            q_next.sign() * (((1 + 0.004 * (q_next.abs() + 1.001)).sqrt() - 1) / 0.002) ** 2 - q_next.sign()
        )
        target = g.sign() * ((g.abs() + 1).sqrt() - 1) + 0.001 * g
        delta = (target - q[batch.actions[t, 0]]).item()
        assert result.extrinsic.td_errors[t, 0, 0].item() == pytest.approx(delta, abs=1e-9)


def test_infinite_kappa_is_q_lambda(online, target, batch) -> None:
    wide, _ = compute(online, target, batch, kappa=float("inf"))
    plain, _ = compute(online, target, batch, target="q_lambda")
    assert wide.loss.item() == pytest.approx(plain.loss.item(), rel=1e-12)


def pollute(output: NetworkOutput, batch: TensorBatch, size: float, seed: int) -> NetworkOutput:
    """Other numbers at every observation after a sequence's bootstrap observation."""
    generator = torch.Generator().manual_seed(seed)
    after = torch.arange(len(output.logits)).unsqueeze(1) > batch.lengths
    heads = []
    for head in output[:3]:
        noise = size * torch.randn(head.shape, generator=generator, dtype=head.dtype)
        heads.append(torch.where(after[:, :, None, None], noise, head))
    return NetworkOutput(*heads, output.state, output.core)


@pytest.mark.parametrize(
    "variant", ["paper", "retrace", "target bootstrap", "no distillation", "raw errors", "advantage learning"]
)
@pytest.mark.parametrize("size", [1.0, 1e4])
def test_padding_changes_nothing(online, target, batch, variant: str, size: float) -> None:
    settings, padding = VARIANTS[variant], ~batch.mask
    clean, clean_gradients = compute(online, target, batch, **settings)
    generator = torch.Generator().manual_seed(3)
    changed = batch._replace(
        actions=torch.where(padding, (batch.actions + 1) % 4, batch.actions),
        rewards=torch.where(padding, 1e15 * size, batch.rewards),
        intrinsic_rewards=torch.where(padding, -1e15 * size, batch.intrinsic_rewards),
        mu=torch.where(padding, torch.rand(6, 5, generator=generator).double(), batch.mu),
    )
    other, gradients = compute(pollute(online, batch, size, 4), pollute(target, batch, size, 5), changed, **settings)
    assert torch.equal(clean.loss, other.loss)
    assert torch.equal(clean.priorities, other.priorities)
    assert torch.equal(clean.extrinsic.sigma, other.extrinsic.sigma)
    assert torch.equal(clean.intrinsic.sigma, other.intrinsic.sigma)
    for z in HEADS:
        assert torch.equal(clean_gradients[z], gradients[z])
        after = torch.arange(7).unsqueeze(1) >= batch.lengths
        assert not gradients[z][after].any()


def test_more_padding_changes_nothing(make_tensors, make_outputs) -> None:
    batch, online, target = (
        make_tensors(lengths=[4, 2], terminal=[False, True]),
        *(make_outputs(6, 2, seed=seed) for seed in (1, 2)),
    )
    short = batch._replace(
        **{name: getattr(batch, name)[:4] for name in
           ("actions", "rewards", "intrinsic_rewards", "mu", "mask", "continues", "is_last_step")}
    )  # fmt: skip
    cut = [NetworkOutput(*(head[:5] for head in output[:3]), output.state, output.core) for output in (online, target)]
    long_result, _ = compute(online, target, batch)
    short_result, _ = compute(*cut, short)
    assert short_result.loss.item() == pytest.approx(long_result.loss.item(), rel=1e-12)
    assert short_result.priorities.tolist() == pytest.approx(long_result.priorities.tolist(), rel=1e-12)


def test_a_terminal_end_does_not_bootstrap_and_a_truncated_one_does(make_tensors, make_outputs) -> None:
    online, target = (make_outputs(6, 1, seed=seed) for seed in (1, 2))
    moved = online._replace(q_extrinsic=online.q_extrinsic.clone())
    moved.q_extrinsic[4] += 1.0  # the bootstrap observation of a sequence of four steps
    for terminal in (True, False):
        batch = make_tensors(lengths=[4], terminal=[terminal])
        before, _ = compute(online, target, batch)
        after, _ = compute(moved, target, batch)
        assert torch.equal(before.extrinsic.td_errors[:4], after.extrinsic.td_errors[:4]) is terminal
    batch = make_tensors(lengths=[4], terminal=[True])
    result, _ = compute(online, target, batch)
    reward = batch.rewards[3, 0]
    h = reward.sign() * ((reward.abs() + 1).sqrt() - 1) + 0.001 * reward
    q = online.q_extrinsic[3, 0, :, batch.actions[3, 0]]
    torch.testing.assert_close(result.extrinsic.td_errors[3, 0], h - q)


def test_importance_weights_scale_their_sequence_alone(online, target, batch) -> None:
    losses = []
    for weight in (0.0, 1.0, 2.0):
        importance = batch.importance.clone()
        importance[1] = weight
        result, gradients = compute(online, target, batch._replace(importance=importance))
        losses.append(result.loss.item())
        assert bool(gradients["e"][:, 1].any()) is (weight > 0)
        # neither scale nor priorities are weighted
        assert result.priorities.tolist() == pytest.approx(compute(online, target, batch)[0].priorities.tolist())
    assert losses[2] - losses[1] == pytest.approx(losses[1] - losses[0], rel=1e-9)


@pytest.mark.parametrize("switch", [v for v in VARIANTS if v not in ("paper", "infinite trust region")])
def test_every_switch_changes_the_loss(online, target, batch, switch: str) -> None:
    settings = dict(VARIANTS[switch])
    reference = {"trust_region_alpha": 0.3} if switch == "no trust region" else {}
    assert compute(online, target, batch, **settings)[0].loss.item() != pytest.approx(
        compute(online, target, batch, **reference)[0].loss.item(), rel=1e-6
    )


def test_targets_carry_no_gradient_and_theta_t_is_not_bootstrapped_from(online, target, batch) -> None:
    _, gradients = compute(online, target, batch)
    taken = torch.zeros_like(online.logits, dtype=torch.bool)
    index = batch.actions[:, :, None, None].expand(-1, -1, 3, 1)
    taken[:6].scatter_(-1, index, batch.mask[:, :, None, None].expand(-1, -1, 3, 1))
    for z in ("e", "i"):
        assert not gradients[z][~taken].any()
    without = {"trust_region": False, "max_kl": float("inf")}
    other = NetworkOutput(*(head + 1.0 for head in target[:3]), target.state, target.core)
    assert torch.equal(
        compute(online, target, batch, **without)[0].loss, compute(online, other, batch, **without)[0].loss
    )


def test_rates_and_lifelong_novelty_by_loops(batch: TensorBatch, online: NetworkOutput, target: NetworkOutput) -> None:
    result, _ = compute(online, target, batch, trust_region_alpha=0.3)
    naive = compute_naively(online, target, batch, trust_region_alpha=0.3)
    found, steps = _metrics(result, batch, torch.zeros(())), sum(LENGTHS)
    assert found["learner/trust_region_rate"].item() == pytest.approx(naive.num_dropped["e"] / (3 * steps))
    assert found["learner/kl_rate"].item() == pytest.approx(naive.num_dropped["pi"] / (3 * steps))
    lifelong = [batch.features.lifelong[t + 1, b].item() for b, n in enumerate(LENGTHS) for t in range(n)]
    assert found["novelty/lifelong"].item() == pytest.approx(sum(lifelong) / steps, rel=1e-5)
