"""The loss: normalised TD errors inside a trust region, mixed over policies, and policy distillation."""

from __future__ import annotations

import torch
from torch import Tensor

from meme57.agent.ties import TIE_TOLERANCE, as_good


def td_scale(running_std: Tensor, td_errors: Tensor, mask: Tensor, *, floor: float) -> Tensor:
    """Compute sigma_j = max(running, batch, floor), one per policy.

    Args:
        running_std: [N].
        td_errors: [T, B, N]; padding may hold anything, NaN included.
        mask: [T, B] bool, True at real steps.
        floor: smallest scale.

    Returns:
        [N]; `batch` is the population standard deviation over masked-in steps, absent when there are none.

    Source: MEME B1 [paper].
    """
    count = mask.sum().clamp_min(1)
    kept = td_errors.masked_fill(~mask.unsqueeze(-1), 0.0)
    mean = kept.sum((0, 1)) / count
    squares = (kept - mean).masked_fill(~mask.unsqueeze(-1), 0.0).square()
    batch_std = (squares.sum((0, 1)) / count).sqrt()
    return torch.maximum(running_std, batch_std).clamp_min(floor)


def trust_region_mask(q: Tensor, q_target: Tensor, targets: Tensor, sigma: Tensor, *, alpha: float) -> Tensor:
    """Return True where the loss is kept.

    It is dropped where both hold: |q - q_target| > alpha sigma, and sgn(q - q_target) != sgn(q - targets). There, the
    update would move q even further away from the target network.

    Args:
        q, q_target, targets: [..., N], all in the transformed space [ours].
        sigma: [N].
        alpha: width; `inf` keeps everything.

    Source: MEME A1, Eqs. 1-2 [paper]; alpha [reported].
    """
    outside = (q - q_target).abs() > alpha * sigma
    moves_away = torch.sign(q - q_target) != torch.sign(q - targets)
    return ~(outside & moves_away)


def cross_mixture(losses: Tensor, behaviour: Tensor, *, eta: float) -> Tensor:
    """Compute L = eta L_{j_mu} + (1 - eta) / N sum_j L_j.  losses [..., N], behaviour [...] long -> [...].

    Source: MEME B2 [paper]; formula and eta [reported].
    """
    own = losses.gather(-1, behaviour.unsqueeze(-1)).squeeze(-1)
    return eta * own + (1.0 - eta) * losses.mean(-1)


def combine_components(extrinsic: Tensor, intrinsic: Tensor, betas: Tensor) -> Tensor:
    """Compute (e + |beta_j| i) / (1 + |beta_j|).  e and i [..., N], betas [N] -> [..., N].

    So j = 0 trains Qe alone at full weight. Source: MEME C2 [paper: label only; weights ours].
    """
    weights = betas.abs()
    return (extrinsic + weights * intrinsic) / (1.0 + weights)


def epsilon_greedy(q: Tensor, *, epsilon: float, tolerance: float = TIE_TOLERANCE) -> Tensor:
    """Return the eps-greedy policy of q [..., A] -> [..., A]: 1 - eps + eps/A on the greedy action, eps/A elsewhere.

    Actions that are equally good up to rounding (`as_good`) share the greedy part [ours]. Before the first reward all
    actions are equally good, and the policy should learn to prefer none.
    """
    best = as_good(q.amax(-1, keepdim=True) - q, q, tolerance=tolerance)
    return (1.0 - epsilon) * best / best.sum(-1, keepdim=True) + epsilon / q.shape[-1]


def distillation_loss(
    q: Tensor, logits: Tensor, target_logits: Tensor, *, epsilon: float, max_kl: float, tolerance: float = TIE_TOLERANCE
) -> tuple[Tensor, Tensor]:
    """Compute the cross-entropy from the eps-greedy policy of q to softmax(logits); drop it where the policy moved far.

        L = - sum_a G_eps(q)(a) log pi(a),  kept where KL(softmax(target_logits) || softmax(logits)) <= max_kl

    Args:
        q, logits, target_logits: [..., A]; the gradient flows through `logits` alone. Temperature 1.
        tolerance: within which actions count as equally good (`as_good`).

    Returns:
        loss [...] (0 where dropped), kept [...] bool.

    Source: MEME D [paper]; constants [reported].
    """
    log_pi = logits.log_softmax(-1)
    log_target = target_logits.detach().log_softmax(-1)
    kl = (log_target.exp() * (log_target - log_pi.detach())).sum(-1)
    kept = kl <= max_kl
    loss = -(epsilon_greedy(q.detach(), epsilon=epsilon, tolerance=tolerance) * log_pi).sum(-1)
    return torch.where(kept, loss, torch.zeros_like(loss)), kept
