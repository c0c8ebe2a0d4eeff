"""What runs in a Ray actor, without Ray: rounds, cuts, weights, and what an actor takes over from the one before."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch

from meme57.actors import Collected
from meme57.actors import actor as actor_module
from meme57.actors.messages import pack_weights, unpack_answer
from meme57.actors.remote_actor import Plan, RemoteActor
from meme57.envs import env_spec


def steps(answer: bytes) -> int:
    return unpack_answer(answer)[0].num_steps


def test_a_cut_ends_the_rounds_before_it_and_none_after_it(make_parameters) -> None:
    parameters = make_parameters(ray={"workers": 1})
    actor = RemoteActor()
    actor.begin(parameters, env_spec(parameters.env), Plan(slot=0, life=1))
    threading.Timer(0.2, actor.end_rounds, [1]).start()
    assert 0 < steps(actor.collect(None, 0, 10**9, None, False)) < 3 * 10**9
    assert steps(actor.collect(None, 0, 10**9, None, False)) == 0  # asked for before the cut
    actor.cut()
    actor.restart(None)
    assert steps(actor.collect(None, 0, 5, None, False)) == 5 * 3
    actor.cut()
    actor.restart(None)
    actor.end_rounds(2)  # overtaken by its cut
    assert steps(actor.collect(None, 0, 5, None, False)) == 5 * 3


def begin(parameters: Any, plan: Plan, *weights: Any) -> tuple[RemoteActor, dict[str, Any]]:
    actor = RemoteActor()
    return actor, unpack_answer(actor.begin(parameters, env_spec(parameters.env), plan, *weights))[1]


def plays(actor: RemoteActor, num_steps: int = 40) -> Collected:
    return unpack_answer(actor.collect(None, 0, num_steps, None, False))[0]


def actions(collected: Collected) -> list[tuple[int, int, list[int]]]:
    return [(chunk.episode, chunk.index, chunk.steps.action.tolist()) for chunk in collected.chunks]


@pytest.fixture
def parameters(make_parameters):
    return make_parameters(env={"max_episode_frames": 40}, ray={"workers": 1})


def test_an_exact_successor_plays_on_as_the_one_before_would_have(parameters) -> None:
    actor, _ = begin(parameters, Plan(slot=0, life=1))
    plays(actor)
    state = unpack_answer(actor.cut())[1]["state"]
    successor, _ = begin(parameters, Plan(slot=0, life=1, state=state, is_exact=True))
    actor.restart(None)
    expected = actions(plays(actor))
    assert len(expected) > 3
    assert actions(plays(successor)) == expected


@pytest.mark.parametrize(("given", "expected"), [(0, 2), (1, 1)])
def test_an_actor_steps_its_emulators_with_the_cores_that_are_its_own(
    make_parameters, monkeypatch: pytest.MonkeyPatch, given: int, expected: int
) -> None:
    """One thread a core of the machine is for those that have the machine alone."""
    seen, make = [], actor_module.make_env
    monkeypatch.setattr(
        actor_module, "make_env", lambda *a, **given: seen.append(given["num_threads"]) or make(*a, **given)
    )
    parameters = make_parameters(env={"num_threads": given}, ray={"workers": 1, "cpus_per_worker": 2.0})
    threads = torch.get_num_threads()
    try:
        begin(parameters, Plan(slot=0, life=1))
    finally:
        torch.set_num_threads(threads)
    assert set(seen) == {expected}


def test_another_successor_inherits_the_bandits_and_has_seeds_of_its_own(parameters) -> None:
    actor, _ = begin(parameters, Plan(slot=0, life=1))
    plays(actor)
    state = unpack_answer(actor.cut())[1]["state"]
    successor, _ = begin(parameters, Plan(slot=0, life=2, state=state))
    fresh, _ = begin(parameters, Plan(slot=0, life=2))
    inherited, own = (one._pool.state_dict()["actors"] for one in (successor, fresh))
    for before, after, new in zip(state["actors"], inherited, own, strict=True):
        assert any(bandit["plays"] for bandit in before["bandits"])
        assert [bandit["plays"] for bandit in after["bandits"]] == [bandit["plays"] for bandit in before["bandits"]]
        assert after["memory"] == before["memory"]
        assert after["random"] != before["random"]
        assert after["generation"] == new["generation"] + 1  # begun, then restarted with what was inherited
    chunks = plays(successor).chunks
    assert {chunk.actor // 2 for chunk in chunks} == {2}


@pytest.mark.parametrize("version", [0, 5])  # 0: the first weights of all, which `run.init_from` may have given
def test_the_first_weights_are_loaded_whatever_their_version(parameters, make_actor, version: int) -> None:
    played = make_actor(env={"max_episode_frames": 40})
    weights = pack_weights(played.network.state_dict(), played.novelty.state_dict())
    actor, _ = begin(parameters, Plan(slot=0, life=1), weights, version)
    for name, tensor in played.network.state_dict().items():
        assert actor._pool._actors[0]._network.state_dict()[name].equal(tensor), name
    assert {chunk.weight_version for chunk in plays(actor).chunks} == {version}


def test_weights_are_loaded_when_they_are_new(parameters, make_actor) -> None:
    played = make_actor(env={"max_episode_frames": 40})
    weights = pack_weights(played.network.state_dict(), played.novelty.state_dict())
    actor, _ = begin(parameters, Plan(slot=0, life=1), weights, 5)
    newer = pack_weights({name: value + 1 for name, value in played.network.state_dict().items()},
                         played.novelty.state_dict())  # fmt: skip
    for version, expected in ((5, 0.0), (6, 1.0)):  # the same number is the same weights
        actor.collect(newer, version, 1, None, False)
        for name, tensor in played.network.state_dict().items():
            assert actor._pool._actors[0]._network.state_dict()[name].equal(tensor + expected), name


def test_what_was_chosen_before_the_first_weights_does_not_stay_pending(make_parameters, make_actor) -> None:
    played = make_actor(env={"max_episode_frames": 40})
    weights = pack_weights(played.network.state_dict(), played.novelty.state_dict())
    parameters = make_parameters(env={"max_episode_frames": 40}, bandit={"scope": "shared"}, ray={"workers": 1})
    _, facts = begin(parameters, Plan(slot=0, life=1, shared=([], [0, 0, 0])), weights, 0)
    assert sum(facts["pending"]) == 3  # one of each environment


def test_a_shared_bandit_is_the_drivers_and_tells_what_is_pending(make_parameters) -> None:
    parameters = make_parameters(env={"max_episode_frames": 40}, bandit={"scope": "shared"}, ray={"workers": 1})
    actor, facts = begin(parameters, Plan(slot=0, life=1, shared=([(1, 5.0)], [0, 0, 0])))
    assert sum(facts["pending"]) == 3  # one of each environment
    assert actor._bandits[0].plays == [(1, 5.0)]
    actor.collect(None, 0, 1, ([(2, 7.0)], [0, 0, 0]), False)
    assert actor._bandits[0].plays == [(2, 7.0)]
    actor.restart(None)  # nothing new
    assert actor._bandits[0].plays == [(2, 7.0)]
    _, facts = begin(make_parameters(ray={"workers": 1}), Plan(slot=0, life=1))
    assert "pending" not in facts
