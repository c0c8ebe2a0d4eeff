"""The model of the next steps: against hand values and an independent loop; padding and terminals; it can learn."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from meme57.agent.dynamics import LatentDynamics, Steps, two_hot

HORIZON = 3


def build() -> tuple[LatentDynamics, torch.Tensor, torch.Tensor, Steps]:
    torch.manual_seed(0)
    num_steps, batch = 6, 4
    model = LatentDynamics(8, 5, size=7).double()
    core, target = (torch.randn(num_steps + 1, batch, 8, dtype=torch.float64) for _ in range(2))
    lengths = torch.tensor([6, 4, 1, 6])
    mask = torch.arange(num_steps).unsqueeze(1) < lengths
    continues = torch.ones(num_steps, batch, dtype=torch.float64)
    continues[3, 1] = continues[5, 3] = 0.0
    rewards = torch.randn(num_steps, batch, dtype=torch.float64) * 5
    return model, core, target, Steps(torch.randint(5, (num_steps, batch)), rewards, mask, continues)


def test_two_hot_by_hand() -> None:
    bins = torch.linspace(-1.0, 1.0, 5)
    found = two_hot(torch.tensor([0.0, 0.3, -0.5, 7.0]), bins)
    expected = [[0, 0, 1, 0, 0], [0, 0, 0.4, 0.6, 0], [0, 1, 0, 0, 0], [0, 0, 0, 0, 1]]
    torch.testing.assert_close(found, torch.tensor(expected))
    torch.testing.assert_close((found * bins).sum(-1), torch.tensor([0.0, 0.3, -0.5, 1.0]))


@torch.no_grad()
def test_losses_equal_a_naive_loop() -> None:
    model, core, target, steps = build()
    rewards, outputs = [], []
    for k in range(HORIZON):
        reward_terms, output_terms = [], []
        for t in range(len(steps.actions) - k):
            for b in range(core.shape[1]):
                latent = model.enter(core[t, b])
                for i in range(k + 1):
                    latent = latent + model.step(latent + model.action(steps.actions[t + i, b]))
                if not steps.mask[t + k, b]:
                    continue
                x = steps.rewards[t + k, b].item()
                place = (math.copysign(math.log1p(abs(x)), x) + 10.0) / 0.25
                low = math.floor(place)
                log_p = model.reward(latent).log_softmax(-1)
                reward_terms.append(-(low + 1 - place) * log_p[low] - (place - low) * log_p[low + 1])
                if steps.continues[t + k, b] > 0:
                    wanted = functional.layer_norm(target[t + k + 1, b], (8,))
                    output_terms.append((model.core(latent) - wanted).square().mean())
        rewards.append(sum(reward_terms) / len(reward_terms))
        outputs.append(sum(output_terms) / len(output_terms))
    found = model.losses(core, target, steps, horizon=HORIZON)
    torch.testing.assert_close(found[0], sum(rewards) / HORIZON)
    torch.testing.assert_close(found[1], sum(outputs) / HORIZON)


def test_padding_and_what_follows_a_terminal_never_count() -> None:
    model, core, target, steps = build()
    before = model.losses(core, target, steps, horizon=HORIZON)
    rewards = steps.rewards.masked_fill(~steps.mask, math.nan)
    padded = ~torch.cat([torch.ones_like(steps.mask[:1]), steps.mask])
    ended = torch.cat([torch.zeros_like(padded[:1]), steps.continues == 0])
    other = target.masked_fill((padded | ended).unsqueeze(-1), 99.0)
    after = model.losses(core, other, steps._replace(rewards=rewards), horizon=HORIZON)
    torch.testing.assert_close(after, before)


def test_the_horizon_ends_with_the_sequence() -> None:
    model, core, target, steps = build()
    whole, longer = (model.losses(core, target, steps, horizon=horizon) for horizon in (6, 60))
    torch.testing.assert_close(longer, whole)


def test_gradients_reach_the_outputs_and_not_the_target() -> None:
    model, core, target, steps = build()
    core.requires_grad_()
    target.requires_grad_()
    sum(model.losses(core, target.detach(), steps, horizon=HORIZON)).backward()
    assert core.grad is not None
    assert core.grad[:-1].abs().sum((1, 2)).min() > 0
    assert not core.grad[-1].any()  # nothing is predicted from the last observation


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_learns_what_the_outputs_and_the_actions_tell(seed: int) -> None:
    """The reward is the action's number where the output's first number is positive, and 0 elsewhere."""
    torch.manual_seed(seed)
    model = LatentDynamics(4, 3, size=32)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(400):
        core = torch.randn(5, 32, 4)
        actions = torch.randint(3, (4, 32))
        rewards = actions * (core[:-1, :, 0] > 0)
        steps = Steps(actions, rewards.float(), torch.ones(4, 32, dtype=torch.bool), torch.ones(4, 32))
        loss = model.losses(core, core, steps, horizon=1)[0]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    # Exact knowledge leaves 0.2 nats, since log(2) and log(3) lie between two bins; knowing nothing leaves 1.07.
    assert loss.item() < 0.6
