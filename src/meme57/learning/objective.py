"""The objective of one batch: targets of all N policies, the normalised trust-region loss, and distillation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from meme57.agent.family import PolicyFamily
from meme57.agent.losses import (
    combine_components,
    cross_mixture,
    distillation_loss,
    epsilon_greedy,
    td_scale,
    trust_region_mask,
)
from meme57.agent.network import NetworkOutput
from meme57.agent.priorities import sequence_priority
from meme57.agent.returns import (
    advantage_learning,
    corrected_returns,
    retrace_returns,
    retrace_traces,
    soft_watkins_traces,
)
from meme57.agent.transforms import signed_hyperbolic, signed_parabolic
from meme57.config.groups import LossParameters
from meme57.learning.tensors import TensorBatch


@dataclass(frozen=True)
class Scales:
    """Running standard deviations of the online TD errors, one per policy and component."""

    extrinsic: Tensor  # [N]
    intrinsic: Tensor  # [N]


class Component(NamedTuple):
    """One value component z of every policy."""

    loss: Tensor  # [T, B, N]
    td_errors: Tensor  # [T, B, N] target minus Q, no gradient; the target is h(G), or that after advantage learning
    sigma: Tensor  # [N]
    kept: Tensor  # [T, B, N] bool


class Objective(NamedTuple):
    """Loss, priorities and diagnostics of one batch."""

    loss: Tensor  # []
    value_loss: Tensor  # []
    policy_loss: Tensor  # []
    priorities: Tensor  # [B]
    extrinsic: Component
    intrinsic: Component
    policy_kept: Tensor  # [T, B, N] bool
    traces: Tensor  # [T, B, N]


def objective(
    online: NetworkOutput,
    target: NetworkOutput,
    batch: TensorBatch,
    family: PolicyFamily,
    scales: Scales,
    parameters: LossParameters,
    *,
    priority_eta: float,
) -> Objective:
    """Compute the loss of a batch and the new priorities of its sequences.

    Args:
        online: outputs of the online network at observations 0..T, with gradient: [T+1, B, N, A].
        target: outputs of the target network, of the same shape, without gradient.
        batch: T steps of B sequences.

    Source: MEME section 3 (docs/specification.md).
    """
    betas = family.betas.to(online.logits)
    q = (online.q_extrinsic + betas[:, None] * online.q_intrinsic).detach()
    pi = target_policy(q, online.logits.detach(), parameters)
    actions = batch.actions.unsqueeze(-1).expand(*batch.actions.shape, q.shape[2])
    traces = _traces(q[:-1], actions, pi[:-1], batch, parameters)
    bootstrap = online if parameters.bootstrap == "online" else target
    gammas = family.gammas.to(online.logits)

    returns = _returns(bootstrap, pi, actions, gammas, traces, batch, parameters)

    def component(value: Tensor, target_value: Tensor, returns: Tensor, std: Tensor) -> Component:
        taken, anchor, targets = _taken(value, actions), _taken(target_value, actions), signed_hyperbolic(returns)
        if alpha := parameters.advantage_alpha:
            targets = advantage_learning(targets, value[:-1].detach(), taken.detach(), pi[:-1], alpha=alpha)
        return _component(taken, anchor, targets, std, batch, parameters)

    extrinsic = component(online.q_extrinsic, target.q_extrinsic, returns[..., 0], scales.extrinsic)
    intrinsic = component(online.q_intrinsic, target.q_intrinsic, returns[..., 1], scales.intrinsic)
    policy_losses, policy_kept = distillation_loss(
        q[:-1],
        online.logits[:-1],
        target.logits[:-1],
        epsilon=parameters.distillation_epsilon,
        max_kl=parameters.max_kl,
    )
    eta = parameters.cross_mixture_eta if parameters.cross_mixture else 1.0
    value_loss = _average(combine_components(extrinsic.loss, intrinsic.loss, betas), batch, eta)
    policy_loss = _average(policy_losses, batch, eta)
    weight = parameters.distillation_weight if parameters.distil_policy else 0.0
    return Objective(
        loss=value_loss + weight * policy_loss,
        value_loss=value_loss.detach(),
        policy_loss=policy_loss.detach(),
        priorities=behaviour_priorities(extrinsic, intrinsic, betas, batch, priority_eta=priority_eta),
        extrinsic=extrinsic,
        intrinsic=intrinsic,
        policy_kept=policy_kept,
        traces=traces,
    )


def target_policy(q: Tensor, logits: Tensor, parameters: LossParameters) -> Tensor:
    """Return pi_j [..., A]: the distilled policy at the target temperature, or else the eps-greedy policy of q."""
    if parameters.distil_policy:
        return (logits / parameters.target_temperature).softmax(-1)
    return epsilon_greedy(q, epsilon=parameters.distillation_epsilon)


def behaviour_priorities(
    extrinsic: Component, intrinsic: Component, betas: Tensor, batch: TensorBatch, *, priority_eta: float
) -> Tensor:
    """Compute new priorities [B] from the normalised TD errors of the acting policy; components as in C2 [ours]."""
    normalised = combine_components(
        (extrinsic.td_errors / extrinsic.sigma).abs(), (intrinsic.td_errors / intrinsic.sigma).abs(), betas
    )
    behaviour = batch.policies.expand(batch.actions.shape).unsqueeze(-1)
    return sequence_priority(normalised.gather(-1, behaviour).squeeze(-1), batch.mask, eta=priority_eta)


def _traces(q: Tensor, actions: Tensor, pi: Tensor, batch: TensorBatch, parameters: LossParameters) -> Tensor:
    """Compute c_t [T, B, N] at each step."""
    if parameters.target == "soft_watkins":
        return soft_watkins_traces(q, actions, pi, lambda_=parameters.lambda_, kappa=parameters.kappa)
    if parameters.target == "retrace":
        return retrace_traces(actions, pi, batch.mu.unsqueeze(-1), lambda_=parameters.lambda_)
    return torch.full_like(actions, 0, dtype=q.dtype) + parameters.lambda_


def _returns(
    bootstrap: NetworkOutput,
    pi: Tensor,
    actions: Tensor,
    gammas: Tensor,
    traces: Tensor,
    batch: TensorBatch,
    parameters: LossParameters,
) -> Tensor:
    """Compute G_e and G_i, untransformed: [T, B, N, 2]; the trace is cut at the last real step."""
    raw = signed_parabolic(torch.stack([bootstrap.q_extrinsic, bootstrap.q_intrinsic], dim=3).detach())
    values = (pi.unsqueeze(3) * raw).sum(-1)
    following = torch.cat([traces[1:], torch.zeros_like(traces[:1])])
    following = following.masked_fill(batch.is_last_step.unsqueeze(-1), 0.0).unsqueeze(-1)
    discounts = (gammas * batch.continues.unsqueeze(-1)).unsqueeze(-1)
    rewards = torch.stack([batch.rewards, batch.intrinsic_rewards], dim=-1)
    rewards = rewards.masked_fill(~batch.mask.unsqueeze(-1), 0.0).unsqueeze(2)
    if parameters.target == "retrace":
        q_taken = raw[:-1].gather(-1, actions[..., None, None].expand(*actions.shape, 2, 1)).squeeze(-1)
        return retrace_returns(rewards, discounts, values, q_taken, following)
    return corrected_returns(rewards, discounts, values, following)


def _component(
    q: Tensor, q_target: Tensor, targets: Tensor, running_std: Tensor, batch: TensorBatch, parameters: LossParameters
) -> Component:
    td_errors = (targets - q).detach()
    sigma = td_scale(running_std, td_errors, batch.mask, floor=parameters.sigma_floor)
    if parameters.trust_region:
        kept = trust_region_mask(q.detach(), q_target, targets, sigma, alpha=parameters.trust_region_alpha)
    else:
        kept = torch.ones_like(td_errors, dtype=torch.bool)
    scale = sigma if parameters.normalise_td else torch.ones_like(sigma)
    loss = 0.5 * ((targets - q) / scale).square()
    return Component(loss.masked_fill(~kept, 0.0), td_errors, scale, kept)


def _average(losses: Tensor, batch: TensorBatch, eta: float) -> Tensor:
    """Apply the cross-mixture, then the importance-weighted mean over real steps: [T, B, N] -> []."""
    mixed = cross_mixture(losses, batch.policies.expand(batch.actions.shape), eta=eta)
    weighted = mixed.masked_fill(~batch.mask, 0.0) * batch.importance
    return weighted.sum() / batch.mask.sum().clamp_min(1)


def _taken(q: Tensor, actions: Tensor) -> Tensor:
    """Select the values of the actions taken: [T or T+1, B, N, A], [T, B, N] -> [T, B, N]."""
    return q[: len(actions)].gather(-1, actions.unsqueeze(-1)).squeeze(-1)
