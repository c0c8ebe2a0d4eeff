"""Multiply-adds against arithmetic by hand, and against what PyTorch counts itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from meme57.agent import cost
from meme57.agent.network import Features
from meme57.agent.student import StudentNetwork, StudentSpec
from meme57.blueprint import agent_spec, make_networks
from meme57.config import parse_parameters
from meme57.envs import env_spec
from meme57.hooks.configuration import ProjectConfigLoader
from meme57.settings import CONFIG_LOADER_ARGS

CONF = Path(__file__).parents[2] / "conf"


def preset(name: str):
    parameters = parse_parameters(ProjectConfigLoader(str(CONF), env=name, **CONFIG_LOADER_ARGS)["parameters"])
    env = env_spec(parameters.env)
    network, novelty = make_networks(agent_spec(parameters, env), seed=1)
    chosen = parameters.distill
    student = StudentNetwork(StudentSpec(env.height, env.width, env.num_actions, chosen.lstm_size, chosen.channels))
    return network, novelty, student


def test_student_by_hand() -> None:
    # 52x52, kernel 8 stride 4 -> 12x12x4: 144 * 4 * 64 = 36,864.  Kernel 4 stride 2 -> 5x5x8: 25 * 8 * 4 * 16 = 12,800.
    # LSTM: 4 * 32 * (200 + 8 + 1 + 32) = 30,848.  Logits: 32 * 9 = 288.
    student = StudentNetwork(StudentSpec(52, 52, 9, 32, (4, 8)))
    assert cost.student_step(student) == 36_864 + 12_800 + 30_848 + 288


def test_grouped_convolutions_count_their_group() -> None:
    # [1, 8, 5, 5] -> [1, 4, 3, 3], two groups: 36 outputs of 4 * 9 products each.
    layer = nn.Conv2d(8, 4, 3, groups=2)
    with cost.counting(layer) as count:
        layer(torch.zeros(1, 8, 5, 5))
    assert count.total == 36 * 36
    layer(torch.zeros(1, 8, 5, 5))
    assert count.total == 36 * 36  # outside the block nothing is counted


def test_teacher_is_what_pytorch_counts() -> None:
    """Its counter counts two operations a multiply-add; it sees the LSTM's hand-made products too."""
    network, novelty, _ = preset("laptop")
    zero = torch.zeros(1)
    features = Features(torch.zeros(1, dtype=torch.long), *(zero,) * 4, torch.zeros(1, network.spec.embedding_size))
    frame = torch.zeros(1, 52, 52, dtype=torch.uint8)
    for betas in (None, torch.zeros(4)):
        network.acting_betas = betas
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network.act(frame, features, network.initial_state(1), torch.zeros(1, dtype=torch.long))
        assert cost.teacher_step(network) == counter.get_total_flops() // 2
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        novelty.act_embed(frame)
        novelty.rnd_error(frame)
    assert cost.novelty_step(novelty) == counter.get_total_flops() // 2


@pytest.mark.parametrize("name", ["laptop", "gpu", "paper"])
def test_a_student_costs_at_most_a_tenth_of_its_teacher(name: str) -> None:
    network, _, student = preset(name)
    assert cost.student_step(student) <= 0.1 * cost.teacher_step(network)
