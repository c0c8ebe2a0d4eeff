"""Diagnostics of an agent in training. They cost more than the loss itself, so they are computed rarely."""

from __future__ import annotations

import torch
from torch import Tensor

from meme57.agent.masked import masked_mean
from meme57.agent.network import Features, MemeNetwork, NetworkOutput
from meme57.agent.recurrence import gates, unroll
from meme57.agent.returns import backward_recursion
from meme57.agent.ties import as_good
from meme57.agent.transforms import signed_parabolic
from meme57.config.groups import LossParameters
from meme57.learning.objective import Component, Objective, target_policy
from meme57.learning.tensors import TensorBatch

PERIOD_UPDATES = 37
"""Updates from one health check to the next; the first update has one. It divides no usual target period, because
right after a copy the online and the target network agree."""
FRAMES = 256
"""Frames of the batch that are examined for dead and active units."""


@torch.no_grad()
def health(
    network: MemeNetwork, online: NetworkOutput, target: NetworkOutput, result: Objective, batch: TensorBatch,
    images: Tensor, parameters: LossParameters,
) -> dict[str, Tensor]:  # fmt: skip
    """Compute `health/*` of docs/metrics.md, over real steps; of policy 0 where that page does not say otherwise.

    Args:
        online, target: outputs at observations 0..T, [T+1, B, N, A].
        images: [B * (T+1), 1, H, W], the torso's inputs.
    """
    mask, q = batch.mask, online.q_extrinsic[:-1, :, 0]
    pi = target_policy(q, online.logits[:-1, :, 0], parameters)
    greedy, before = (greedy_actions(output, parameters) for output in (online, target))

    def explained(values: Tensor, component: Component, policy: int) -> Tensor:
        errors = component.td_errors[..., policy]
        taken = values[:-1, :, policy].gather(-1, batch.actions.unsqueeze(-1)).squeeze(-1)
        return explained_variance(taken + errors, errors, mask)

    found = {
        "health/trace_length_steps": masked_mean(trace_lengths(result.traces, batch.is_last_step).mean(-1), mask),
        "health/policy_churn": masked_mean((greedy != before).float(), mask),
        "health/greedy_disagreement": masked_mean(is_worse(q, greedy, kappa=parameters.kappa).float(), mask),
        "health/choice_gain": masked_mean(choice_gain(q, pi, batch.actions), mask),
        "health/explained_variance": explained(online.q_extrinsic, result.extrinsic, 0),
        "health/explained_variance_intrinsic": explained(online.q_intrinsic, result.intrinsic, -1),
        "health/dead_units": dead_share(network.torso(images[:FRAMES])),
    }
    found |= unit_health(network, batch, images)
    for name, component in (("extrinsic", result.extrinsic), ("intrinsic", result.intrinsic)):
        found |= {f"sigma_{name}/{j}": sigma for j, sigma in enumerate(component.sigma.unbind())}
    return found


def greedy_actions(output: NetworkOutput, parameters: LossParameters) -> Tensor:
    """Return policy 0's greedy actions at observations 0..T-1, [T, B]: of the distilled policy, or else of Qe."""
    scores = output.logits if parameters.distil_policy else output.q_extrinsic
    return scores[:-1, :, 0].argmax(-1)


def is_worse(q: Tensor, actions: Tensor, *, kappa: float) -> Tensor:
    """Return where an action is worse than the best one by more than kappa |max Q|: [..., A], [...] -> [...] bool."""
    best = q.amax(-1, keepdim=True)
    taken = q.gather(-1, actions.unsqueeze(-1))
    return (as_good(best - kappa * best.abs() - taken, q) == 0).squeeze(-1)


def choice_gain(q: Tensor, pi: Tensor, actions: Tensor) -> Tensor:
    """Return how much better than the action taken the policy believes its own choice to be, a step: V - Q(a_t).

    Args:
        q: [..., A] values in the transformed space.
        pi: [..., A] probabilities of the target policy.
        actions: [...] long, the actions taken.

    Returns:
        [...] in units of the return. Under its own fresh data a policy gains 0 on average.
    """
    raw = signed_parabolic(q)
    return (pi * raw).sum(-1) - raw.gather(-1, actions.unsqueeze(-1)).squeeze(-1)


def trace_lengths(traces: Tensor, is_last_step: Tensor) -> Tensor:
    """Count the rewards that enter the return at each step, weighted by their traces: n_t = 1 + c_{t+1} n_{t+1}.

    traces [T, B, N], is_last_step [T, B] bool -> [T, B, N]; 1 is one-step learning.
    """
    following = torch.cat([traces[1:], torch.zeros_like(traces[:1])]).masked_fill(is_last_step.unsqueeze(-1), 0.0)
    return backward_recursion(torch.ones_like(traces), following)


def explained_variance(targets: Tensor, errors: Tensor, mask: Tensor) -> Tensor:
    """Compute 1 - Var(errors) / Var(targets) over masked-in steps: [T, B], [T, B], [T, B] bool -> [].

    It is 1 where values predict the targets exactly, 0 where a constant does as well or the targets do not vary.
    """
    spread = masked_variance(targets, mask)
    return torch.where(spread > 1e-12, 1.0 - masked_variance(errors, mask) / spread.clamp_min(1e-12), 0.0)


def unit_health(network: MemeNetwork, batch: TensorBatch, images: Tensor) -> dict[str, Tensor]:
    """Return the share [] of active advantage units and that of saturated gates, over the first sequences."""
    num_steps = len(batch.mask)
    few = max(1, FRAMES // (num_steps + 1))
    features = Features(*(values[:, :few] for values in batch.features))
    mask, state = batch.mask[:, :few], batch.state[:, :few]
    inputs = network.core_inputs(images[: few * (num_steps + 1)], features)
    core, _ = unroll(network.lstm, inputs, state)
    active = network.values.advantage.activations(core[:-1].flatten(0, 1)) > 0
    saturated = (gates(network.lstm, inputs, core, state)[:-1] - 0.5).abs() > 0.45
    return {
        "health/active_advantage_units": masked_mean(active.flatten(1).float().mean(1).view_as(mask), mask),
        "health/saturated_gates": masked_mean(saturated.flatten(2).float().mean(2), mask),
    }


def dead_share(features: Tensor) -> Tensor:
    """Return the share of rectified units that are zero on every frame: [M, D] -> []."""
    return (features <= 0).all(0).float().mean()


def masked_variance(values: Tensor, mask: Tensor) -> Tensor:
    """Compute the population variance of [T, B] where the mask is True."""
    return masked_mean((values - masked_mean(values, mask)).square(), mask)
