"""Offline distillation: the loss by hand, and that what is trained on is what was played."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from meme57.agent.student import StudentNetwork, StudentSpec
from meme57.blueprint import agent_spec, make_networks
from meme57.config import parse_parameters
from meme57.envs import env_spec
from meme57.learning import distillation
from meme57.learning.distillation import OwnPlay, distillation_loss
from meme57.learning.policies import Teacher
from meme57.learning.tensors import to_tensors

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


def test_steps_whose_action_the_game_ignores_do_not_count() -> None:
    """After an episode's end comes a step that only begins the next one: its teacher is of no use."""
    parameters = parse_parameters({**SMALL, "env": {"game": "DeepSea5"}, "network": {"torso": "small"}})
    env = env_spec(parameters.env)
    network, novelty = make_networks(agent_spec(parameters, env), seed=1)
    student = StudentNetwork(StudentSpec(env.height, env.width, env.num_actions, 8, (4, 4)))
    play = OwnPlay(Teacher(env, network, novelty), student, num_envs=2, seed=1, rng=np.random.default_rng(0))
    segment = play.play(18, exploration=0.0)
    play.close()
    ignored = torch.arange(18) % 6 == 5  # five steps an episode
    assert torch.equal(segment.mask, ~ignored.unsqueeze(1).expand(18, 2))
    assert torch.equal(segment.first[1:], ~segment.mask[:-1])


def test_fidelity_by_hand(play: OwnPlay, monkeypatch: pytest.MonkeyPatch) -> None:
    play._student.network.logits.bias.data[2] = 50.0  # so it prefers 2, and a teacher rolled by 1, 2, 3 prefers 3, 0, 1
    segment = play.play(6, exploration=0.0)
    with torch.no_grad():
        own = distillation._unroll(play._student.network, segment)
    half, asked = torch.arange(6).view(6, 1, 1) < 3, []

    def fidelity(teacher: torch.Tensor) -> dict[str, float]:
        def replay(num_steps: int, *, exploration: float) -> distillation.Segment:
            asked.append((num_steps, exploration))
            return segment._replace(teacher=teacher)

        monkeypatch.setattr(play, "play", replay)
        return play.fidelity(18, temperature=1.0)

    same = fidelity(own)
    assert (same["agreement"], same["kl"]) == (1.0, pytest.approx(0.0, abs=1e-5))
    for other in (1, 2, 3):
        assert fidelity(own.roll(other, -1))["agreement"] == 0.0
        halves = fidelity(torch.where(half, own, own.roll(other, -1)))
        assert halves["agreement"] == 0.5
        assert halves["kl"] > 1.0
    assert set(asked) == {(6, 0.0)}


@pytest.mark.parametrize("renew", [False, True])
def test_a_replayed_segment_is_aligned(make_parameters, make_batch, renew) -> None:
    """The teacher's preferences are those at the frame; action and reward are of the step before it."""
    batch = make_batch(lengths=[6, 4], terminal=[False, True], seed=3)
    parameters = make_parameters(novelty={"renew_embedding": renew})
    network, novelty = make_networks(agent_spec(parameters, env_spec(parameters.env)), seed=1)
    for head in network.policies.parameters():
        torch.nn.init.normal_(head)
    student = StudentNetwork(StudentSpec(16, 16, 4, 8, (4, 4)))
    replay = SimpleNamespace(sample=lambda size, rng: batch)
    segment = distillation.replayed_segment(
        SimpleNamespace(network=network, novelty=novelty), student, replay, 2, np.random.default_rng(0)
    )
    tensors = to_tensors(batch, torch.device("cpu"))
    features = tensors.features
    with torch.no_grad():
        if renew:
            newest = torch.stack([novelty.act_embed(frames) for frames in tensors.frames], dim=1)
            newest[features.action == network.spec.num_actions] = 0.0
            features = features._replace(embedding=newest)
        logits = network(tensors.frames, features, tensors.state).logits
    for t in range(6):
        assert torch.equal(segment.teacher[t], logits[t, :, 0])
        assert segment.actions[t].tolist() == batch.inputs.action[t].tolist()
        assert segment.rewards[t].tolist() == batch.inputs.reward[t].tolist()
        assert segment.frames[t].tolist() == batch.frames[:, t].tolist()
    assert not segment.state.any()
