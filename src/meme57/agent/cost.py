"""What one step costs in multiply-adds, counted layer by layer from the shapes that really flow.

A multiply-add is one product that is summed; activations, norms, biases and look-ups are not counted. Source: ours.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from meme57.agent.heads import BatchedHeads
from meme57.agent.network import MemeNetwork, no_features
from meme57.agent.novelty import NoveltyNetworks
from meme57.agent.student import StudentNetwork
from meme57.agent.torso import zero_frames


class MultiplyAdds:
    """The count so far."""

    def __init__(self) -> None:
        self.total = 0


@contextlib.contextmanager
def counting(*modules: nn.Module) -> Iterator[MultiplyAdds]:
    """Count the multiply-adds of every convolution, linear layer and batched head that `modules` run inside the block.

    An LSTM is not always called as a layer (on a CPU we unroll it ourselves): `lstm_multiply_adds` counts it.
    """
    count = MultiplyAdds()

    def add(module: nn.Module, inputs: Any, output: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            count.total += output.numel() * module.weight[0].numel()  # weight[0]: Cin / groups x kernel x kernel
        elif isinstance(module, nn.Linear):
            count.total += output.numel() * module.in_features
        elif isinstance(module, BatchedHeads):  # counts the second layer; the first one is an nn.Linear
            count.total += output.numel() * module.weight.shape[1]

    layers = [layer for module in modules for layer in module.modules()]
    handles = [layer.register_forward_hook(add) for layer in dict.fromkeys(layers)]
    try:
        yield count
    finally:
        for handle in handles:
            handle.remove()


def lstm_multiply_adds(lstm: nn.LSTM) -> int:
    """Return the multiply-adds of one step of one sequence: 4 H (D + H)."""
    return 4 * lstm.hidden_size * (lstm.input_size + lstm.hidden_size)


@torch.no_grad()
def teacher_step(network: MemeNetwork) -> int:
    """Count one acting step of one environment: torso, features, LSTM, and the heads that acting needs."""
    spec = network.spec
    with counting(network) as count:
        network.act(
            zero_frames(spec, 1), no_features(spec, 1), network.initial_state(1), torch.zeros(1, dtype=torch.long)
        )
    return count.total + lstm_multiply_adds(network.lstm)


@torch.no_grad()
def novelty_step(novelty: NoveltyNetworks) -> int:
    """Count one step of the intrinsic inputs: the embedding and both RND networks, without the neighbour search."""
    frame = zero_frames(novelty.spec, 1)
    with counting(novelty) as count:
        novelty.act_embed(frame)
        novelty.rnd_error(frame)
    return count.total


@torch.no_grad()
def student_step(network: StudentNetwork) -> int:
    """Count one step of one environment."""
    spec = network.spec
    with counting(network) as count:
        network(zero_frames(spec, 1), torch.zeros(1, dtype=torch.long), torch.zeros(1), network.initial_state(1))
    return count.total + lstm_multiply_adds(network.lstm)
