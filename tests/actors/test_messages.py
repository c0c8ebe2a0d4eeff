"""Blocks of bytes between learner and actors: nothing is changed on the way, damage is noticed."""

from __future__ import annotations

import pytest
import torch

from meme57.actors.actor import Collected
from meme57.actors.messages import pack_answer, pack_weights, unpack_answer, unpack_weights
from meme57.errors import ReplayError
from meme57.replay.store import chunk_checksum


def test_an_answer_comes_back_as_it_was(make_actor) -> None:
    played = make_actor(env={"max_episode_frames": 60}).actor.collect(40)
    assert played.episodes
    back, facts = unpack_answer(pack_answer(played, {"pending": [1, 0, 2]}))
    assert facts == {"pending": [1, 0, 2]}
    assert (back.num_steps, back.episodes) == (played.num_steps, played.episodes)
    assert [chunk_checksum(c) for c in back.chunks] == [chunk_checksum(c) for c in played.chunks]


def test_an_answer_without_chunks_and_damaged_answers(make_actor) -> None:
    empty, _ = unpack_answer(pack_answer(Collected(), {}))
    assert (empty.chunks, empty.num_steps) == ([], 0)
    whole = pack_answer(make_actor().actor.collect(12), {})
    for damaged in (b"", whole[:5], whole[:60], whole[:-3], whole[:8] + b"x" + whole[9:]):
        with pytest.raises(ReplayError):
            unpack_answer(damaged)


def test_weights_of_both_networks_come_back(make_actor) -> None:
    played = make_actor()
    network, novelty = played.network.state_dict(), played.novelty.state_dict()
    back = unpack_weights(pack_weights(network, novelty))
    for before, after in zip((network, novelty), back, strict=True):
        assert before.keys() == after.keys()
        assert all(torch.equal(before[name], after[name]) for name in before)
