"""A model of the next steps: given the actions, what the LSTM's output tells of the rewards and outputs to come.

It is a loss alone; nothing plans or acts with it. Telling what an action brings needs no bootstrapping, so this teaches
torso and LSTM with targets whose noise is that of single rewards.
Source: ours; predicted rewards as in MR.Q (Fujimoto et al., 2025), predicted latent states as in SPR (Schwarzer et al.,
2021) and MR.Q.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from meme57.agent.masked import masked_mean

LARGEST, SPACING = 10.0, 0.25
"""Rewards x are classified by sgn(x) log(1 + |x|) into bins this far apart, from -10 to 10: up to about 22,000."""


class Steps(NamedTuple):
    """What really happened at T steps of B sequences."""

    actions: Tensor  # [T, B] long
    rewards: Tensor  # [T, B]
    mask: Tensor  # [T, B] bool, real steps
    continues: Tensor  # [T, B] 0 at a terminal step, else 1


class LatentDynamics(nn.Module):
    """Unrolls a latent state over the actions; at each step it predicts the reward and the LSTM's next output."""

    def __init__(self, lstm_size: int, num_actions: int, *, size: int) -> None:
        super().__init__()
        num_bins = round(2 * LARGEST / SPACING) + 1
        self.enter = nn.Linear(lstm_size, size)
        self.action = nn.Embedding(num_actions, size)
        self.step = nn.Sequential(nn.LayerNorm(size), nn.ReLU(), nn.Linear(size, size))
        self.reward = nn.Linear(size, num_bins)
        self.core = nn.Linear(size, lstm_size)
        self.register_buffer("bins", torch.linspace(-LARGEST, LARGEST, num_bins), persistent=False)
        self.bins: Tensor

    def losses(self, core: Tensor, target: Tensor, steps: Steps, *, horizon: int) -> tuple[Tensor, Tensor]:
        """Compute the losses of the rewards and of the LSTM's outputs, averaged over real steps and over the horizon.

        From the output at each step the latent state z goes ahead, z <- z + step(z + action), up to `horizon` steps and
        never past the sequence's last. The k-th reward's loss is the cross-entropy from its two-hot bins. The k-th
        output's is the mean squared difference to the target network's standardised one; it leaves out what follows a
        terminal step.

        Args:
            core: [T+1, B, H] outputs of the online network's LSTM, with gradient.
            target: [T+1, B, H] outputs of the target network's, without.

        Returns:
            reward loss [], output loss [].
        """
        horizon = min(horizon, len(steps.actions))
        wanted = functional.layer_norm(target, target.shape[-1:])
        rewards = steps.rewards.masked_fill(~steps.mask, 0.0)
        bins = two_hot(torch.sign(rewards) * torch.log1p(rewards.abs()), self.bins)
        goes_on = steps.mask & (steps.continues > 0)
        latent, actions = self.enter(core[:-1]), self.action(steps.actions)
        reward_loss, core_loss = core.new_zeros(()), core.new_zeros(())
        for k in range(horizon):
            latent = latent[: len(actions) - k]
            latent = latent + self.step(latent + actions[k:])
            entropy = -(bins[k:] * self.reward(latent).log_softmax(-1)).sum(-1)
            error = (self.core(latent) - wanted[k + 1 :]).square().mean(-1)
            reward_loss = reward_loss + masked_mean(entropy, steps.mask[k:])
            core_loss = core_loss + masked_mean(error, goes_on[k:])
        return reward_loss / horizon, core_loss / horizon


def two_hot(values: Tensor, bins: Tensor) -> Tensor:
    """Spread each value [...] over the two even bins [M] beside it, so that their mean is the value: [..., M]."""
    spacing = bins[1] - bins[0]
    values = values.clamp(bins[0], bins[-1]).unsqueeze(-1)
    return (1.0 - (values - bins).abs() / spacing).clamp_min(0.0)
