"""Our LSTM against PyTorch's: outputs, states and all gradients, whole and in pieces."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from meme57.agent.recurrence import gates, unroll


@pytest.fixture(name="case")
def _case() -> tuple[nn.LSTM, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    lstm = nn.LSTM(7, 5).double()
    return lstm, torch.randn(6, 3, 7, dtype=torch.float64), torch.randn(2, 3, 5, dtype=torch.float64)


def gradients(loss: torch.Tensor, lstm: nn.LSTM, *inputs: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss, [*lstm.parameters(), *inputs]))


@pytest.mark.parametrize("num_steps", [1, 2, 6])
@pytest.mark.parametrize("weigh_state", [False, True])
def test_outputs_states_and_gradients_are_those_of_pytorch(case, num_steps: int, weigh_state: bool) -> None:
    lstm, inputs, state = case
    inputs, state = inputs[:num_steps].clone().requires_grad_(), state.clone().requires_grad_()
    weights = torch.randn(num_steps, 3, 5, dtype=torch.float64)
    outputs, last = unroll(lstm, inputs, state)
    expected, (hidden, cell) = lstm(inputs, (state[:1], state[1:]))
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(last, torch.cat([hidden, cell]))
    ours, theirs = (outputs * weights).sum(), (expected * weights).sum()
    if weigh_state:
        ours, theirs = ours + (last**2).sum(), theirs + (hidden**2).sum() + (cell**2).sum()
    for got, wanted in zip(gradients(ours, lstm, inputs, state), gradients(theirs, lstm, inputs, state), strict=True):
        torch.testing.assert_close(got, wanted)


def test_gates_make_the_outputs(case) -> None:
    lstm, inputs, state = case
    outputs, _ = unroll(lstm, inputs, state)
    found = gates(lstm, inputs, outputs, state)
    hidden, cell = state
    for t, x in enumerate(inputs):
        z = x @ lstm.weight_ih_l0.T + hidden @ lstm.weight_hh_l0.T + lstm.bias_ih_l0 + lstm.bias_hh_l0
        i, f, o = found[t].unbind(1)
        cell = f * cell + i * torch.tanh(z[:, 10:15])
        hidden = o * torch.tanh(cell)
        torch.testing.assert_close(hidden, outputs[t])


def test_gradients_are_those_of_finite_differences(case) -> None:
    lstm, inputs, state = case
    assert torch.autograd.gradcheck(
        lambda x, s: unroll(lstm, x, s), (inputs[:3].requires_grad_(), state.requires_grad_())
    )


def test_step_by_step_equals_at_once(case) -> None:
    lstm, inputs, state = case
    whole, last = unroll(lstm, inputs, state)
    for t in range(len(inputs)):
        output, state = unroll(lstm, inputs[t : t + 1], state)
        torch.testing.assert_close(output[0], whole[t])
    torch.testing.assert_close(state, last)


def test_bfloat16_projects_alone_and_keeps_the_recurrence_in_float32(case) -> None:
    lstm, inputs, state = (part.float() for part in case)
    whole, _ = unroll(lstm, inputs, state)
    with torch.autocast("cpu", torch.bfloat16):
        outputs, last = unroll(lstm, inputs, state)
    assert outputs.dtype == last.dtype == torch.float32
    torch.testing.assert_close(outputs, whole, rtol=0.05, atol=0.02)
    assert not torch.equal(outputs, whole)
