"""N value heads and N policy heads on one LSTM output, computed as batched products."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from meme57.agent.precision import no_autocast


class BatchedHeads(nn.Module):
    """N two-layer perceptrons with a shared input: one wide product, then one batched product.

    [M, inputs] -> [M, N, outputs]. Both layers start as `nn.Linear` would. With `normalise`, the hidden layer of each
    head is standardised before its ReLU [ours]: without it, noise switches most advantage units off for good. Under
    autocast the last layer still runs in float32: near 19 (a return of 400), bfloat16 values are 0.125 apart.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int, *, num_heads: int, normalise: bool = False) -> None:
        super().__init__()
        self._num_heads, self._hidden, self._normalise = num_heads, hidden, normalise
        self.hidden = nn.Linear(inputs, num_heads * hidden)
        bound = 1.0 / math.sqrt(hidden)
        self.weight = nn.Parameter(torch.empty(num_heads, hidden, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(num_heads, 1, outputs).uniform_(-bound, bound))

    def forward(self, core: Tensor) -> Tensor:
        """Run both layers: [M, inputs] -> [M, N, outputs], float32."""
        hidden = self.activations(core)
        with no_autocast(core.device.type):
            return torch.baddbmm(self.bias, hidden.transpose(0, 1).to(self.weight.dtype), self.weight).transpose(0, 1)

    def activations(self, core: Tensor) -> Tensor:
        """Run the hidden layer: [M, inputs] -> [M, N, hidden]."""
        hidden = self.hidden(core).view(-1, self._num_heads, self._hidden)
        if self._normalise:
            hidden = functional.layer_norm(hidden.float(), (self._hidden,))
        return functional.relu(hidden)


class DuelingHeads(nn.Module):
    """Qe_j and Qi_j of every policy: [M, inputs] -> two of [M, N, A].

    One value stream and one advantage stream per policy, each with an extrinsic and an intrinsic output.
    The last layers start at zero [ours]. TD errors are divided by their own scale. So on a game without rewards a new
    network's random values would be blown up to unit errors, and their gradients would keep the shared LSTM from
    learning.

    Source: dueling [inherited]; shared torso [paper]; two outputs [ours].
    """

    def __init__(self, inputs: int, hidden: int, num_actions: int, *, num_heads: int, normalise: bool = False) -> None:
        super().__init__()
        self._num_actions = num_actions
        self.value = BatchedHeads(inputs, hidden, 2, num_heads=num_heads, normalise=normalise)
        self.advantage = BatchedHeads(inputs, hidden, 2 * num_actions, num_heads=num_heads, normalise=normalise)
        for stream in (self.value, self.advantage):
            nn.init.zeros_(stream.weight)
            nn.init.zeros_(stream.bias)

    def forward(self, core: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the values: [M, inputs] -> (Qe [M, N, A], Qi [M, N, A]) in the transformed space."""
        value = self.value(core).unsqueeze(-1)
        advantage = self.advantage(core).unflatten(-1, (2, self._num_actions))
        q = value + advantage - advantage.mean(-1, keepdim=True)
        return q[..., 0, :], q[..., 1, :]
