"""Multi-step targets: soft Watkins Q(lambda) in the form of MEME's Eq. 3, and the two it is compared with."""

from __future__ import annotations

import torch
from torch import Tensor

from meme57.agent.ties import TIE_TOLERANCE, as_good


def soft_watkins_traces(
    q: Tensor, actions: Tensor, policy: Tensor, *, lambda_: float, kappa: float, tolerance: float = TIE_TOLERANCE
) -> Tensor:
    """Compute traces that continue where the action taken is nearly as good as those of the target policy.

        c = lambda E_{a ~ pi} [ 1{ Q(x, a_t) >= Q(x, a) - kappa |Q(x, a)| } ]

    Args:
        q: [..., A] combined values of one policy.
        actions: [...] long, the actions taken.
        policy: [..., A] probabilities of the target policy.
        lambda_: in [0, 1].
        kappa: how much worse an action may be; `inf` lets every action pass.
        tolerance: allowance of the comparison for rounding (`as_good`) [ours].

    Returns:
        [...] traces in [0, lambda].

    Source: MEME A2 [paper]; lambda and kappa [reported].
    """
    if kappa == float("inf"):
        return lambda_ * policy.sum(-1)
    taken = q.gather(-1, actions.unsqueeze(-1))
    passes = as_good(q - kappa * q.abs() - taken, q, tolerance=tolerance)
    return lambda_ * (policy * passes).sum(-1)


def retrace_traces(actions: Tensor, policy: Tensor, mu: Tensor, *, lambda_: float) -> Tensor:
    """Compute c = lambda min(1, pi(a_t | x_t) / mu(a_t | x_t)).  policy [..., A], actions and mu [...] -> [...].

    Source: Munos et al., 2016; used by Agent57, kept for the ablation [inherited].
    """
    taken = policy.gather(-1, actions.unsqueeze(-1)).squeeze(-1)
    return lambda_ * (taken / mu.clamp_min(1e-8)).clamp_max(1.0)


def corrected_returns(rewards: Tensor, discounts: Tensor, values: Tensor, traces: Tensor) -> Tensor:
    """Compute the corrected return backwards in time; its baseline is V, not Q(x, a) as in Retrace.

        G_t = r_t + discount_t [ (1 - c_{t+1}) V(x_{t+1}) + c_{t+1} G_{t+1} ],   c_T = 0

    Args:
        rewards: [T, ...].
        discounts: [T, ...] gamma d, zero at a terminal step.
        values: [T+1, ...] V at observations 0..T.
        traces: [T, ...] traces[t] = c_{t+1}; the last is unused, G bootstraps from values[T].

    Returns:
        [T, ...].

    Source: MEME Eq. 3 [paper], with max replaced by the expectation under the distilled policy.
    """
    c = _without_last(traces)
    return backward_recursion(rewards + discounts * (1.0 - c) * values[1:], discounts * c)


def retrace_returns(rewards: Tensor, discounts: Tensor, values: Tensor, q_taken: Tensor, traces: Tensor) -> Tensor:
    """Compute G_t = r_t + discount_t [ V(x_{t+1}) + c_{t+1} (G_{t+1} - Q(x_{t+1}, a_{t+1})) ]; q_taken [T, ...].

    Source: Munos et al., 2016; for the ablation [inherited].
    """
    c = _without_last(traces)
    following = torch.cat([q_taken[1:], q_taken[-1:]])  # its last is unused, as c is 0 there
    return backward_recursion(rewards + discounts * (values[1:] - c * following), discounts * c)


def advantage_learning(targets: Tensor, q: Tensor, q_taken: Tensor, policy: Tensor, *, alpha: float) -> Tensor:
    """Lower an action's target by how much worse it is than the policy:  y - alpha [ E_{a ~ pi} Q(x, a) - Q(x, a_t) ].

    Values learned from these targets settle where that expectation is what it would be without, and the gaps to it,
    Q(x, a) - E Q, are 1 / (1 - alpha) times as wide. So noise in the values changes the best action less often.

    Args:
        targets: [...] y, in the space of q.
        q: [..., A] the values that are learned.
        q_taken: [...] those of the actions taken.
        policy: [..., A] probabilities of the target policy.
        alpha: in [0, 1); 0 changes nothing.

    Returns:
        [...].

    Source: Baird, 1999; Bellemare et al., 2016 (arXiv 1512.04860), both with the best value in place of the expectation
    [ours].
    """
    return targets - alpha * ((policy * q).sum(-1) - q_taken)


def backward_recursion(a: Tensor, b: Tensor) -> Tensor:
    """Solve G_t = a_t + b_t G_{t+1} for all t, in ceil(log2 T) rounds instead of T.

    G_t = a_t + b_t a_{t+1} + b_t b_{t+1} G_{t+2}: substituting the recursion into itself gives one that looks two steps
    ahead. It has the same form, so each round doubles how far it looks.

    Args:
        a: [T, ...].
        b: [T, ...], broadcast to `a`; b_{T-1} must be 0. So all factors that would look beyond the end are 0 as well.

    Returns:
        [T, ...].

    Source: ours (Hillis and Steele, 1986).
    """
    step = 1
    while step < len(a):
        a = torch.cat([torch.addcmul(a[:-step], b[:-step], a[step:]), a[-step:]])
        b = torch.cat([b[:-step] * b[step:], b[-step:]])
        step *= 2
    return a


def _without_last(traces: Tensor) -> Tensor:
    return torch.cat([traces[:-1], torch.zeros_like(traces[-1:])])
