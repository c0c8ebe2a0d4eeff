"""Offline distillation: the loss by hand, and that what is trained on is what was played."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from meme57.agent.student import StudentNetwork, StudentSpec
from meme57.blueprint import agent_spec, make_networks
from meme57.config import parse_parameters
from meme57.envs import env_spec
from meme57.learning.distillation import OwnPlay, distillation_loss
from meme57.learning.policies import Teacher

SMALL = {
    "env": {"game": "Corridor", "num_envs": 3, "height": 16, "width": 16},
    "family": {"num_policies": 2},
    "network": {"torso": "small", "lstm_size": 8, "head_size": 8, "feature_size": 8, "small_channels": [4, 4]},
    "novelty": {"channels": [4, 4], "rnd_size": 8, "hidden_size": 8},
}


@pytest.fixture(name="play")
def _play():
    parameters = parse_parameters(SMALL)
    env = env_spec(parameters.env)
    network, novelty = make_networks(agent_spec(parameters, env), seed=1)
    torch.manual_seed(0)
    student = StudentNetwork(StudentSpec(16, 16, env.num_actions, 8, (4, 4)))
    teacher = Teacher(env, network, novelty)
    play = OwnPlay(teacher, student, num_envs=3, seed=1, rng=np.random.default_rng(0))
    yield play
    play.close()


def test_loss_by_hand() -> None:
    # Teacher logits (0, 2 log 3) at temperature 2: probabilities 1/4 and 3/4. Student logits equal: -log 1/2 each.
    teacher = torch.tensor([[[0.0, 2.0 * math.log(3.0)]]])
    student = torch.zeros(1, 1, 2)
    mask = torch.tensor([[True]])
    assert distillation_loss(student, teacher, mask, temperature=2.0).item() == pytest.approx(math.log(2.0))
    # Student logits (0, log 3) are the same distribution: its entropy, 1/4 log 4 + 3/4 log 4/3 = 0.56234.
    student = torch.tensor([[[0.0, math.log(3.0)]]])
    assert distillation_loss(student, teacher, mask, temperature=2.0).item() == pytest.approx(0.56234, abs=1e-5)


def test_padding_never_changes_the_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(4, 2, 3, generator=generator) for _ in range(2))
    mask = torch.tensor([[True, True], [True, True], [True, False], [False, False]])
    changed = torch.where(mask.unsqueeze(-1), student, torch.full_like(student, 50.0))
    losses = [distillation_loss(s, teacher, mask, temperature=1.0).item() for s in (student, changed)]
    assert losses[0] == losses[1]


def test_the_unrolled_student_is_the_one_that_played(play: OwnPlay) -> None:
    play.play(7, exploration=0.5)
    segment = play.play(60, exploration=0.0)  # episodes end inside it: the state is zeroed there
    assert segment.first.any()
    with torch.no_grad():
        logits = play._student.network.unroll(
            segment.frames, segment.actions, segment.rewards, segment.first, segment.state
        )
    acted = segment.actions[1:]
    began = segment.first[1:]
    assert torch.equal(logits[:-1].argmax(-1)[~began], acted[~began])
    assert (acted[began] == play._student.network.spec.num_actions).all()


def test_fidelity_of_a_student_that_agrees_and_of_one_that_does_not(play: OwnPlay) -> None:
    found = play.fidelity(60, temperature=1.0)
    assert 0.0 <= found["agreement"] <= 1.0
    assert found["kl"] >= 0.0
    play._student.network.logits.bias.data[:] = torch.tensor([50.0, 0.0, 0.0, 0.0])
    certain = play.fidelity(60, temperature=1.0)
    assert certain["kl"] > found["kl"] + 5.0
