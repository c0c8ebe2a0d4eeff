"""What one step costs in multiply-adds, counted by PyTorch from the shapes that really flow, on the CPU.

A multiply-add is one product that is summed; activations, norms, biases and look-ups are not counted. Source: ours.
"""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from meme57.agent.network import MemeNetwork, no_features
from meme57.agent.novelty import NoveltyNetworks
from meme57.agent.student import StudentNetwork
from meme57.agent.torso import zero_frames


@torch.no_grad()
def teacher_step(network: MemeNetwork) -> int:
    """Count one acting step of one environment: torso, features, LSTM, and the heads that acting needs."""
    spec = network.spec
    with FlopCounterMode(display=False) as counter:
        network.act(
            zero_frames(spec, 1), no_features(spec, 1), network.initial_state(1), torch.zeros(1, dtype=torch.long)
        )
    return int(counter.get_total_flops()) // 2


@torch.no_grad()
def novelty_step(novelty: NoveltyNetworks) -> int:
    """Count one step of the intrinsic inputs: the embedding and both RND networks, without the neighbour search."""
    frame = zero_frames(novelty.spec, 1)
    with FlopCounterMode(display=False) as counter:
        novelty.act_embed(frame)
        novelty.rnd_error(frame)
    return int(counter.get_total_flops()) // 2


@torch.no_grad()
def student_step(network: StudentNetwork) -> int:
    """Count one step of one environment."""
    spec, one = network.spec, torch.zeros(1, 1)
    with FlopCounterMode(display=False) as counter:  # unrolled, since it does not count PyTorch's own LSTM on a CPU
        network.unroll(zero_frames(spec, 1).unsqueeze(0), one.long(), one, one.bool(), network.initial_state(1))
    return int(counter.get_total_flops()) // 2
