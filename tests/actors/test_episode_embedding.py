"""An episode keeps the embedding network that it began with, whatever weights arrive meanwhile."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from meme57.actors.episode_embedding import EpisodeEmbedding
from meme57.agent.novelty import EpisodicMemory, NoveltyNetworks
from meme57.agent.parameters import NoveltySpec

SPEC = NoveltySpec(height=16, width=16, num_actions=3, embedding_size=4, channels=(3, 4), rnd_size=4, hidden_size=8)
FRAMES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 16, 16), np.uint8))
FIRST, GOING_ON = np.ones(3, np.bool_), np.zeros(3, np.bool_)


@pytest.fixture
def networks() -> NoveltyNetworks:
    torch.manual_seed(0)
    return NoveltyNetworks(SPEC).eval()


def renew(networks: NoveltyNetworks) -> None:
    networks.load_state_dict({name: value + torch.randn_like(value) for name, value in networks.state_dict().items()})


@torch.no_grad()
def test_an_episode_keeps_its_network_and_the_next_one_has_the_newest(networks: NoveltyNetworks) -> None:
    embedding = EpisodeEmbedding(networks, 3)
    before = embedding.embed(FRAMES, FIRST)
    torch.testing.assert_close(before, networks.act_embed(FRAMES), rtol=0, atol=0)
    renew(networks)
    torch.testing.assert_close(embedding.embed(FRAMES, GOING_ON), before, rtol=0, atol=0)
    mixed = embedding.embed(FRAMES, np.array([False, True, False]))
    torch.testing.assert_close(mixed[1], networks.act_embed(FRAMES[1:2])[0], rtol=0, atol=0)
    torch.testing.assert_close(mixed[[0, 2]], before[[0, 2]], rtol=1e-3, atol=1e-3)
    assert not torch.equal(mixed[1], before[1])


@torch.no_grad()
def test_every_environment_may_have_a_network_of_its_own(networks: NoveltyNetworks) -> None:
    embedding, alone = EpisodeEmbedding(networks, 3), torch.zeros(3, 4)
    for version in range(5):
        is_first = np.arange(3) == version % 3 if version else FIRST
        for env in np.flatnonzero(is_first):
            alone[env] = networks.act_embed(FRAMES[env : env + 1])[0]
        torch.testing.assert_close(embedding.embed(FRAMES, is_first), alone, rtol=1e-3, atol=1e-3)
        renew(networks)
    assert embedding._versions.tolist() == [3, 4, 2]


@torch.no_grad()
def test_weights_that_change_in_place_do_not_reach_an_episode(networks: NoveltyNetworks) -> None:
    embedding = EpisodeEmbedding(networks, 3)
    before = embedding.embed(FRAMES, FIRST)
    for parameter in networks.parameters():
        parameter.add_(1.0)  # as the learner's optimiser does
    torch.testing.assert_close(embedding.embed(FRAMES, GOING_ON), before, rtol=0, atol=0)


@torch.no_grad()
def test_a_frame_that_comes_again_earns_little_although_weights_arrived(networks: NoveltyNetworks) -> None:
    """The mistake that this mends: 100 pictures shown six times earned 10 and then 15 a loop."""
    embedding, memory = EpisodeEmbedding(networks, 3), EpisodicMemory(SPEC, 3)
    generator = np.random.default_rng(1)
    pictures = torch.from_numpy(generator.integers(0, 256, (30, 3, 16, 16), np.uint8))
    earned = []
    for loop in range(4):
        rewards = []
        for number, frames in enumerate(pictures):
            is_first = FIRST if loop == number == 0 else GOING_ON
            rewards.append(memory.reward(embedding.embed(frames, is_first)).mean().item())
        earned.append(sum(rewards[1:]))
        renew(networks)
    assert earned[1] < 0.2 * earned[0]
    assert earned[3] < 0.2 * earned[0]
