"""The pool in this process: exploration ladder, saved state, and no Ray in sight."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from meme57.actors import Actor, LocalPool
from meme57.actors import make_pool as make_pool_of
from meme57.agent.bandit import epsilon_ladder
from meme57.blueprint import agent_spec, make_networks
from meme57.envs import env_spec


@pytest.fixture(name="make_pool")
def _make_pool(make_parameters, request):
    def make(**groups) -> LocalPool:
        parameters = make_parameters(**groups)
        env = env_spec(parameters.env)
        pool = LocalPool(parameters, env, agent_spec(parameters, env))
        request.addfinalizer(pool.close)
        return pool

    return make


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_environments_have_the_ladders_rates(make_pool, groups: int) -> None:
    pool = make_pool(env={"num_envs": 3}, actors={"epsilon_base": 0.4, "epsilon_alpha": 2.0, "groups": groups})
    assert pool.num_envs == 3
    chunks = pool.collect(48).chunks
    for env, epsilon in enumerate((0.4, 0.4**2, 0.4**3)):  # 0.4^(1 + 2 i / 2); four actions
        group, place = env % groups, env // groups
        size = len(range(group, 3, groups))
        mine = [c for c in chunks if c.actor == group and c.episode < size and c.episode % size == place]
        mu = np.concatenate([c.mu for c in mine])
        allowed = (epsilon / 4, epsilon / 4 + 1 - epsilon)
        assert all(min(abs(m - a) for a in allowed) < 1e-6 for m in mu.tolist())


@pytest.mark.parametrize("game", ["Corridor", "Pong"])
def test_groups_in_turn_play_what_each_would_play_alone(make_pool, make_parameters, game: str) -> None:
    env = {"game": game, "num_envs": 4, "max_episode_frames": 120}
    both = make_pool(env=env, actors={"groups": 2}).collect(40)
    assert both.num_steps > 4 * 30
    parameters = make_parameters(env=env)
    spec = agent_spec(parameters, env_spec(parameters.env))
    ladder = epsilon_ladder(4, base=parameters.actors.epsilon_base, alpha=parameters.actors.epsilon_alpha)
    for group in range(2):
        alone = Actor(parameters, env_spec(parameters.env), spec, ladder[group::2], index=group)
        expected = alone.collect(40).chunks
        alone.close()
        played = [chunk for chunk in both.chunks if chunk.actor == group]
        assert [(c.episode, c.index, c.frames) for c in played] == [(c.episode, c.index, c.frames) for c in expected]
        assert [c.steps.action.tolist() for c in played] == [c.steps.action.tolist() for c in expected]


def test_groups_share_weights_and_a_shared_bandit(make_pool, make_parameters) -> None:
    pool = make_pool(env={"num_envs": 4, "max_episode_frames": 40}, bandit={"scope": "shared"}, actors={"groups": 2})
    parameters = make_parameters()
    network, novelty = make_networks(agent_spec(parameters, env_spec(parameters.env)), seed=99)
    pool.load_weights(network.state_dict(), novelty.state_dict(), 12)
    chunks = [c for c in pool.collect(40).chunks if c.weight_version]
    assert {(c.actor, c.weight_version) for c in chunks} == {(0, 12), (1, 12)}
    bandits = [actor["bandits"] for actor in pool.state_dict()["actors"]]
    assert bandits[0] == bandits[1]
    assert len(bandits[0][0]["plays"]) >= 8  # of the episodes of all four environments


def test_state_goes_through_json_and_on_identically(make_pool) -> None:
    first, second = make_pool(), make_pool()
    first.collect(100)
    state = json.loads(json.dumps(first.state_dict()))
    first.restore(state)
    first.resume()
    second.restore(state)
    second.resume()
    left, right = first.collect(80), second.collect(80)
    assert left.episodes == right.episodes
    for a, b in zip(left.chunks, right.chunks, strict=True):
        assert (a.frames, a.episode, a.policy) == (b.frames, b.episode, b.policy)
        assert a.steps.action.tolist() == b.steps.action.tolist()
        assert a.steps.intrinsic.tolist() == b.steps.intrinsic.tolist()


@pytest.mark.parametrize("scope", ["shared", "environment"])
def test_a_restored_pool_begins_the_episodes_that_a_restarted_one_begins(make_pool, scope: str) -> None:
    first, second = (make_pool(bandit={"scope": scope}, actors={"groups": 2}) for _ in range(2))
    first.collect(100)
    first.cut_episodes()
    state = json.loads(json.dumps(first.state_dict()))
    first.restart()  # as an uninterrupted run does at a checkpoint
    second.restore(state)
    second.resume()
    assert first.state_dict() == second.state_dict()


def test_fresh_networks_are_those_of_the_seed(make_parameters) -> None:
    parameters = make_parameters()
    spec = agent_spec(parameters, env_spec(parameters.env))
    before = torch.random.get_rng_state()
    (one, novelty), (two, _), (other, _) = (make_networks(spec, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)  # the global stream is left alone
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert novelty.spec.num_actions == 4


def test_importing_actors_does_not_import_ray() -> None:
    code = "import sys, meme57.actors; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0


@pytest.mark.parametrize("groups", [1, 2])
def test_a_round_that_was_ended_early_goes_on_as_if_it_had_not_been(make_pool, groups: int) -> None:
    """Ends between two steps, alike for each group; what follows is what would have followed."""
    whole, parts = (make_pool(env={"num_envs": 4}, actors={"groups": groups}) for _ in range(2))
    asked = iter([*[False] * 13, True])
    first = parts.collect(1_000_000, stop=lambda: next(asked))
    assert first.num_steps == 13 * 4
    assert parts.collect(10, stop=lambda: True).num_steps == 0
    first.add(parts.collect(17))
    expected = whole.collect(30)
    assert first.episodes == expected.episodes
    assert [(c.actor, c.episode, c.frames) for c in first.chunks] == [
        (c.actor, c.episode, c.frames) for c in expected.chunks
    ]


def test_the_local_pool_is_the_default_and_has_nothing_to_add_to_a_row(make_parameters) -> None:
    parameters = make_parameters()
    env = env_spec(parameters.env)
    pool = make_pool_of(parameters, env, agent_spec(parameters, env), index=2)
    assert isinstance(pool, LocalPool)
    assert pool.metrics() == {}
    assert {chunk.actor for chunk in pool.collect(10).chunks} == {4, 5}  # two groups of pool 2
    pool.close()
