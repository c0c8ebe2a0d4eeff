"""The student unrolled over a sequence is the student stepped through it, values and gradients."""

from __future__ import annotations

import pytest
import torch

from meme57.agent.student import StudentNetwork, StudentSpec

T, B = 9, 3


def network() -> StudentNetwork:
    torch.manual_seed(1)
    return StudentNetwork(StudentSpec(height=36, width=36, num_actions=4, lstm_size=8, channels=(3, 4)))


@pytest.mark.parametrize("begins", [[], [(0, 1)], [(3, 0), (3, 2), (8, 1)], [(t, t % B) for t in range(T)]])
def test_unrolling_is_stepping(begins: list[tuple[int, int]]) -> None:
    generator = torch.Generator().manual_seed(2)
    frames = torch.randint(0, 256, (T, B, 36, 36), generator=generator, dtype=torch.uint8)
    actions = torch.randint(0, 5, (T, B), generator=generator)
    rewards, state = torch.randn(T, B, generator=generator), torch.randn(2, B, 8, generator=generator)
    first = torch.zeros(T, B, dtype=torch.bool)
    for t, row in begins:
        first[t, row] = True
    whole, stepped = network(), network()

    expected, now = [], state
    for t in range(T):
        now = torch.where(first[t].unsqueeze(-1), torch.zeros_like(now), now)
        logits, now = stepped(frames[t], actions[t], rewards[t], now)
        expected.append(logits)
    found = whole.unroll(frames, actions, rewards, first, state)
    torch.testing.assert_close(found, torch.stack(expected), atol=1e-6, rtol=1e-5)

    weights = torch.randn(found.shape, generator=generator)
    (found * weights).sum().backward()
    (torch.stack(expected) * weights).sum().backward()
    for name, parameter in whole.named_parameters():
        torch.testing.assert_close(
            parameter.grad,
            stepped.get_parameter(name).grad,
            atol=1e-5,
            rtol=1e-4,
            msg=lambda words, of=name: f"{of}: {words}",
        )


def test_inputs_of_the_lstm_by_hand() -> None:
    generator = torch.Generator().manual_seed(0)
    frame = torch.randint(0, 256, (1, 36, 36), dtype=torch.uint8, generator=generator)
    inputs = network()._inputs(frame, torch.tensor([4]), torch.tensor([99.0]))[0]
    assert inputs[-1].item() == pytest.approx(9.099, abs=1e-5)  # h(99) = sqrt(100) - 1 + 0.099
    visual = inputs[:-9]  # less the action's 8 numbers and the reward
    assert visual.mean().item() == pytest.approx(0.0, abs=1e-5)
    assert visual.std(correction=0).item() == pytest.approx(1.0, abs=1e-2)
