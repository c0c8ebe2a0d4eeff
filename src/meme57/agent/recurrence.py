"""Unrolling the LSTM: with cuDNN on a GPU, and with our own code on a CPU, where PyTorch's is slow."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from meme57.agent.precision import no_autocast


def unroll(lstm: nn.LSTM, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Run a one-layer LSTM: inputs [T, B, D], state [2, B, H] -> outputs [T, B, H], last state [2, B, H].

    The recurrence is always float32. Autocast would run cuDNN's LSTM in float16, whatever its own type, and most of the
    gates' gradients are too small for that without loss scaling.

    On a CPU the inputs of all steps are projected in one product (in bfloat16 under autocast) and the recurrence runs
    in float32. A step takes 0.3 ms; with oneDNN's LSTM it took 0.9 ms (laptop preset, 16 environments). Its bfloat16
    backward pass takes several times as long as the matrix products in it (docs/performance.md).
    """
    if inputs.device.type != "cpu":
        with no_autocast(inputs.device.type):
            outputs, (hidden, cell) = lstm(inputs.float(), (state[0:1], state[1:2]))
        return outputs, torch.cat([hidden, cell])
    input_weight, weight, *biases = lstm.parameters()
    projected = functional.linear(inputs, input_weight, biases[0] + biases[1]).to(state.dtype)
    outputs, cell = _Recurrence.apply(projected, state[0], state[1], weight)  # type: ignore[no-untyped-call]
    return outputs, torch.stack([outputs[-1], cell])


def gates(lstm: nn.LSTM, inputs: Tensor, outputs: Tensor, state: Tensor) -> Tensor:
    """Recompute the input, forget and output gates [T, B, 3, H] behind these outputs [T, B, H] of `unroll`."""
    input_weight, weight, *biases = lstm.parameters()
    before = torch.cat([state[0:1], outputs[:-1]])
    z = functional.linear(inputs, input_weight, biases[0] + biases[1]) + functional.linear(before, weight)
    parts = z.view(*z.shape[:2], 4, -1)
    return torch.cat([parts[:, :, :2], parts[:, :, 3:]], dim=2).sigmoid()


class _Recurrence(torch.autograd.Function):
    """i, f, g, o = gates(x_t + W h);  c = f c + i g;  h = o tanh(c): all h [T, B, H] and the last c [B, H].

    Backward is the same recursion in reverse. The derivatives of the gates and the gradient of W are computed for all
    steps at once, outside the recursion.
    """

    @staticmethod
    def forward(ctx: Any, projected: Tensor, hidden: Tensor, cell: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Run all steps: projected inputs [T, B, 4H] in PyTorch's gate order, hidden and cell [B, H], W [4H, H]."""
        num_steps, batch, width = projected.shape
        size = width // 4
        gates = torch.empty_like(projected)
        hiddens = projected.new_empty(num_steps + 1, batch, size)
        cells, squashed = torch.empty_like(hiddens), projected.new_empty(num_steps, batch, size)
        hiddens[0], cells[0] = hidden, cell
        transposed = weight.t()
        for t in range(num_steps):
            z = torch.addmm(projected[t], hiddens[t], transposed, out=gates[t])
            forgetting, new = z[:, : 2 * size].sigmoid_(), z[:, 2 * size : 3 * size].tanh_()
            output = z[:, 3 * size :].sigmoid_()
            c = torch.mul(forgetting[:, size:], cells[t], out=cells[t + 1]).addcmul_(forgetting[:, :size], new)
            torch.mul(output, torch.tanh(c, out=squashed[t]), out=hiddens[t + 1])
        ctx.save_for_backward(gates, hiddens, cells, squashed, weight)
        return hiddens[1:], cells[-1]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Turn gradients of the outputs [T, B, H] and of the last c [B, H] into gradients of the four arguments."""
        gates, hiddens, cells, squashed, weight = ctx.saved_tensors
        num_steps, batch, width = gates.shape
        i, f, g, o = gates.view(num_steps, batch, 4, -1).unbind(2)
        by_cell = torch.stack([g * i * (1 - i), cells[:-1] * f * (1 - f), i * (1 - g * g)], dim=2)
        by_hidden, through = squashed * o * (1 - o), o * (1 - squashed * squashed)
        d_gates = torch.empty_like(gates)
        parts = d_gates.view(num_steps, batch, 4, -1)
        d_outputs, d_cell = gradients
        d_hidden = d_outputs[-1]
        for t in reversed(range(num_steps)):
            d_cell = torch.addcmul(d_cell, d_hidden, through[t])
            torch.mul(d_cell.unsqueeze(1), by_cell[t], out=parts[t, :, :3])
            torch.mul(d_hidden, by_hidden[t], out=parts[t, :, 3])
            d_cell = d_cell * f[t]
            d_hidden = torch.addmm(d_outputs[t - 1], d_gates[t], weight) if t else d_gates[t] @ weight
        d_weight = d_gates.view(-1, width).t() @ hiddens[:-1].reshape(num_steps * batch, -1)
        return d_gates, d_hidden, d_cell, d_weight
