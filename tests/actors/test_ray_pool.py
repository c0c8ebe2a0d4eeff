"""Actors on Ray: real processes, a real game; killed, hung, and none left."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from meme57.actors import Collected
from meme57.actors.exploration import exploration_rates
from meme57.actors.local_pool import LocalPool
from meme57.blueprint import agent_spec
from meme57.envs import env_spec
from meme57.learning.seed_replay import collect_seed_replay, load_seed_replay
from meme57.learning.trainer import Trainer
from tiny_agent import changed

ray = pytest.importorskip("ray")

GAME = {"game": "Pong", "num_envs": 4, "height": 36, "width": 36, "max_episode_frames": 200}
REPLAY = {"period": 8, "capacity_sequences": 5000, "min_sequences": 12, "samples_per_insert": 2.0}
SETTINGS = {
    "run": {"total_frames": 6_000, "checkpoint_period_frames": 3_000, "log_period_frames": 1_000},
    "env": GAME,
    "replay": REPLAY,
    "actors": {"pool": "ray", "weights_period_steps": 10, "groups": 1},
    "bandit": {"scope": "shared"},
    "learner": {"mode": "overlapped", "batch_size": 4},
    "ray": {"workers": 2, "timeout_seconds": 15.0, "cpus_per_worker": 0.5},
}


@pytest.fixture(scope="module", autouse=True)
def _cluster():
    """One small cluster for all tests here; pools leave alone what they did not start."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.shutdown()  # a file before this one may have left a cluster
    ray.init(address="local", num_cpus=2, object_store_memory=100 * 2**20, include_dashboard=False,
             log_to_driver=False, logging_level=logging.ERROR)  # fmt: skip
    yield
    ray.shutdown()


@pytest.fixture(name="settings")
def _settings(make_parameters):
    def make(**groups):
        return make_parameters(**changed(SETTINGS, **groups))

    return make


@pytest.fixture(name="make_pool")
def _make_pool(settings, request):
    from meme57.actors.ray_pool import RayPool

    def make(**groups):
        parameters = settings(**groups)
        pool = RayPool(parameters, env_spec(parameters.env))
        request.addfinalizer(pool.close)
        return pool

    return make


def process_of(pool, slot: int) -> int:
    return int(pool.crew.slots[slot].worker.where.rpartition("process ")[2].rstrip(")"))


def play_until(pool, done, *, seconds: float = 60.0) -> Collected:
    everything, end = Collected(), time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"not within {seconds} s"
        everything.add(pool.collect(10))
    return everything


def both_play(pool):
    return lambda: len(pool.crew.playing()) == 2


def test_two_workers_train_on_a_real_game_and_one_is_killed(settings, tmp_path: Path, caplog) -> None:
    parameters = settings()
    trainer = Trainer(parameters, env_spec(parameters.env), tmp_path)
    killed, rows = None, []
    with caplog.at_level(logging.INFO, "meme57"):
        for event in trainer.run():
            rows += event.rows
            playing = trainer.state.pool.crew.playing()
            if killed is None and len(playing) == 2:
                killed = playing[0].life
                os.kill(process_of(trainer.state.pool, 0), signal.SIGKILL)
    assert killed == 1_000
    assert rows[-1]["frames"] >= 6_000
    assert rows[-1]["updates"] > 10
    assert rows[-1]["actors/lost"] == 1
    assert max(row["actors/playing"] for row in rows) == 2
    assert 0 <= rows[-1]["actors/staleness_updates"] < parameters.ray.max_staleness_updates
    assert f"actor {killed} on" in caplog.text
    chunks = trainer.state.replay.contents()[1].values()
    identities = Counter((chunk.actor, chunk.episode, chunk.index) for chunk in chunks)
    assert max(identities.values()) == 1
    steps = sum(chunk.num_steps for chunk in chunks)
    assert rows[-1]["frames"] / 4 - steps < 4 * 8 * 3  # open chunks of the actor that was killed, at most
    assert {actor for actor, _, _ in identities} >= {killed, killed + 1}
    again = Trainer(parameters, env_spec(parameters.env), tmp_path)  # its driver is gone: a resume
    assert [event.frames for event in again.run()] == [rows[-1]["frames"]]
    assert not again.state.pool.crew._has_started  # it is finished: nobody need play


@pytest.mark.slow
def test_a_hung_actor_is_replaced_and_its_late_answers_are_not_read(make_pool) -> None:
    pool = make_pool(ray={"timeout_seconds": 4.0})
    before = play_until(pool, both_play(pool))
    hung, life = process_of(pool, 1), pool.crew.slots[1].worker.life
    os.kill(hung, signal.SIGSTOP)
    try:
        slot = pool.crew.slots[1]
        before.add(play_until(pool, lambda: slot.worker is not None and slot.worker.life != life))
        before.add(play_until(pool, both_play(pool)))
        assert before.lost_actors == [life]
    finally:
        os.kill(hung, signal.SIGCONT) if Path(f"/proc/{hung}").exists() else None
    before.add(play_until(pool, lambda: pool.crew.slots[1].num_failures == 0))
    counted = Counter((chunk.actor, chunk.episode, chunk.index) for chunk in before.chunks)
    assert max(counted.values()) == 1
    assert pool.crew.slots[1].worker.life not in (life, pool.crew.slots[0].worker.life)


@pytest.mark.slow
def test_with_no_actor_left_it_waits_says_so_and_goes_on(make_pool, caplog) -> None:
    pool = make_pool(ray={"start_seconds": 2.0, "cpus_per_worker": 64.0})
    with caplog.at_level(logging.INFO, "meme57"):
        play_until(pool, lambda: "requesting another one" in caplog.text)
        pool.crew.attendance._noticed = float("-inf")
        pool.collect(10)
        assert "no actor plays: learning waits" in caplog.text
        pool.crew._settings = pool.crew._settings.model_copy(update={"cpus_per_worker": 0.5, "start_seconds": 40.0})
        play_until(pool, both_play(pool), seconds=150.0)  # as when machines join
    assert pool.collect(10).num_steps > 0
    assert pool.metrics()["actors/waiting_seconds"] > 2


@pytest.mark.slow
def test_in_turn_it_is_reproducible_and_an_interrupted_run_is_the_uninterrupted_one(settings, tmp_path: Path) -> None:
    exact = {"exact_resume": True, "total_frames": 4_000, "checkpoint_period_frames": 2_000}
    parameters = settings(learner={"mode": "synchronous"}, run=exact)
    env = env_spec(parameters.env)
    whole = Trainer(parameters, env, tmp_path / "whole")
    list(whole.run())
    half = settings(learner={"mode": "synchronous"}, run={**exact, "total_frames": 2_000})
    list(Trainer(half, env, tmp_path / "parts").run())
    second = Trainer(parameters, env, tmp_path / "parts")
    list(second.run())
    for name, tensor in whole.state.learner.network.state_dict().items():
        assert tensor.equal(second.state.learner.network.state_dict()[name]), name
    assert whole.state.learner.num_updates == second.state.learner.num_updates > 20


@pytest.mark.slow
def test_the_seed_replay_of_two_workers_is_loaded_whole(settings, tmp_path: Path) -> None:
    parameters = settings(replay={"min_sequences": 60})
    record = collect_seed_replay(parameters, env_spec(parameters.env), tmp_path)
    chunks, _ = load_seed_replay(parameters, tmp_path)
    assert record["sequences"] >= 60
    assert {chunk.actor for chunk in chunks} == {901_000, 901_001}
    assert sum(chunk.num_steps for chunk in chunks) == record["steps"]


@pytest.mark.slow
def test_an_actor_plays_what_a_local_pool_of_its_share_plays(make_pool, settings) -> None:
    own = {"learner": {"mode": "synchronous"}, "bandit": {"scope": "environment"}}
    pool, parameters = make_pool(**own), settings(**own)
    remote = play_until(pool, lambda: pool.crew.counts["steps"] > 100)
    env = env_spec(parameters.env)
    rates = exploration_rates(parameters)[1::2]
    alone = LocalPool(parameters, env, agent_spec(parameters, env), index=1001, epsilons=rates)
    expected = alone.collect(40).chunks
    alone.close()
    mine = [chunk for chunk in remote.chunks if chunk.actor == 1001]
    assert len(mine) > 4
    for ours, theirs in zip(mine, expected, strict=False):
        assert (ours.episode, ours.index, ours.policy) == (theirs.episode, theirs.index, theirs.policy)
        assert (ours.frames, ours.steps.action.tolist()) == (theirs.frames, theirs.steps.action.tolist())


@pytest.mark.timeout(120)
def test_rounds_of_hours_end_with_a_cut(make_pool) -> None:
    pool = make_pool(actors={"weights_period_steps": 10_000_000})
    end = time.monotonic() + 60
    while len(pool.crew.playing()) < 2 or not all(slot.worker.questions for slot in pool.crew.slots):
        assert time.monotonic() < end
        pool.collect(10_000_000)
    assert pool.collect(10_000_000, stop=lambda: True).num_steps == 0
    assert pool.cut_episodes().num_steps > 0
    pool.restart()
    played = pool.crew.counts["steps"]
    play_until(pool, lambda: pool.crew.counts["steps"] > played)
