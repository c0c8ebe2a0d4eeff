"""The driver of the Ray pool with real actors in this process: only Ray's transport and the clock are the test's.

So losses, silence and lateness happen when the test says so, in a second. `test_ray_pool.py` has the same on real Ray.
"""

from __future__ import annotations

import logging
import os
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch

from meme57.actors import ray_crew
from meme57.actors.ray_cluster import CLOUDS, connect
from meme57.actors.ray_pool import RayPool
from meme57.actors.ray_slots import one_line, placement
from meme57.config.groups import RayParameters
from meme57.envs import env_spec
from meme57.errors import ActorError, EnvironmentSetupError, ResourceError
from meme57.privacy import NOWHERE
from tiny_agent import changed


class Reference:
    """An answer, or the error in its place; None as long as nobody answers. A late actor's answers are on their way."""

    def __init__(self, value: Any = None, error: Exception | None = None, *, handle: Handle | None = None) -> None:
        self.value, self.error, self.handle = value, error, handle

    @property
    def is_there(self) -> bool:
        is_late = self.handle is not None and self.handle.is_late
        return not is_late and (self.value is not None or self.error is not None)


class RayError(Exception):
    pass


class RayActorError(RayError):
    pass


class RayTaskError(RayError):
    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Handle:
    """An actor. `is_silent`: it takes questions and answers none; `failure`: what it answers instead."""

    def __init__(self, cluster: Cluster, actor: Any, options: dict[str, Any]) -> None:
        self.cluster, self.actor, self.given = cluster, actor, options
        self.is_silent, self.is_late, self.is_killed = cluster.starts_silent, cluster.starts_late, False
        self.asked: Counter[str] = Counter()
        self.failure = cluster.fails
        self.plan: Any = None

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.actor, name)
        return Question(self, method)


class Question:
    def __init__(self, handle: Handle, method: Callable[..., Any]) -> None:
        self.handle, self.method = handle, method

    def options(self, **_: Any) -> Question:
        return self

    def remote(self, *arguments: Any) -> Reference:
        self.handle.asked[self.method.__name__] += 1
        if self.method.__name__ == "begin":
            self.handle.plan = arguments[2]
        if self.handle.failure is not None:
            return Reference(error=self.handle.failure)
        if self.handle.is_silent or (self.handle.cluster.only_begins and self.method.__name__ != "begin"):
            return Reference()
        try:
            answer = self.method(*(a.value if isinstance(a, Reference) else a for a in arguments))
            return Reference(answer, handle=self.handle)
        except ActorError as error:
            return Reference(error=RayTaskError(error))


class Cluster:
    """What the pool uses of Ray. Where nothing is answered, time passes."""

    class exceptions:  # noqa: N801
        RayError, RayTaskError = RayError, RayTaskError

    def __init__(self) -> None:
        self.now, self.is_connected, self.handles = 1_000.0, False, list[Handle]()
        self.starts_silent = self.starts_late = self.only_begins = False
        self.fails: Exception | None = None

    def clock(self) -> float:
        self.now += 0.001
        return self.now

    def is_initialized(self) -> bool:
        return self.is_connected

    def init(self, **given: Any) -> None:
        self.given, self.proxies = given, [os.environ.get(f"{url}_proxy") for url in CLOUDS]
        if given["address"] == "nowhere:6379":
            raise ConnectionError("nobody answers")
        self.is_connected = True

    def shutdown(self) -> None:
        self.is_connected = False

    def put(self, value: Any) -> Reference:
        assert self.is_connected
        return Reference(value)

    def remote(self, **_: Any) -> Callable[[type], Any]:
        assert self.is_connected

        def make(actor_class: type) -> Any:
            cluster = self

            class Maker:
                def options(self, **options: Any) -> Any:
                    self.given = options
                    return self

                def remote(self) -> Handle:
                    cluster.handles.append(Handle(cluster, actor_class(), self.given))
                    return cluster.handles[-1]

            return Maker()

        return make

    def wait(self, references: list[Reference], *, num_returns: int, timeout: float) -> tuple[list[Reference], Any]:
        ready = [reference for reference in references if reference.is_there][:num_returns]
        if not ready:
            self.now += timeout
        return ready, None

    def get(self, reference: Reference, *, timeout: float) -> Any:
        if reference.error is not None:
            raise reference.error
        return reference.value

    def kill(self, handle: Handle) -> None:
        handle.is_killed = True

    def nodes(self) -> list[dict[str, Any]]:
        return [{"NodeID": name, "Alive": True, "Resources": {"CPU": 2.0}} for name in ("here", "there")]

    def get_runtime_context(self) -> Any:
        return self

    def get_node_id(self) -> str:
        return "here"


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    cluster = Cluster()
    monkeypatch.setitem(sys.modules, "ray", cluster)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return cluster


@pytest.fixture
def make_pool(cluster: Cluster, make_parameters, request: pytest.FixtureRequest) -> Callable[..., RayPool]:
    def make(**groups: dict[str, Any]) -> RayPool:
        given = {
            "env": {"num_envs": 4, "max_episode_frames": 40},
            "actors": {"pool": "ray", "groups": 2},
            "learner": {"mode": "overlapped"},
            "ray": {"timeout_seconds": 10.0},
        }
        parameters = make_parameters(**changed(given, **groups))
        pool = RayPool(parameters, env_spec(parameters.env), clock=cluster.clock)
        request.addfinalizer(pool.close)
        return pool

    return make


def lives(cluster: Cluster) -> list[int]:
    return [handle.plan.life for handle in cluster.handles]


def test_rounds_are_handed_over_once_and_counted(cluster: Cluster, make_pool) -> None:
    pool = make_pool()
    collected = pool.collect(10)
    assert collected.num_steps >= 40
    collected.add(pool.collect(10))
    collected.add(pool.cut_episodes())
    counted = Counter((chunk.actor, chunk.episode, chunk.index) for chunk in collected.chunks)
    assert max(counted.values()) == 1
    assert {actor // 2 for actor, _, _ in counted} == {1_000, 1_001}  # two groups each
    assert sum(chunk.num_steps for chunk in collected.chunks) == collected.num_steps == pool.crew.counts["steps"]
    row = pool.metrics()
    assert (row["actors/playing"], row["actors/lost"]) == (2, 0)
    assert row["actors/bytes_per_step"] == row["actors/received_bytes"] / collected.num_steps > 1
    again = pool.metrics()  # since the last call
    assert again["actors/received_bytes"] == 0
    assert "actors/bytes_per_step" not in again
    pool.close()
    assert not cluster.is_connected
    assert all(handle.is_killed for handle in cluster.handles)


@pytest.mark.parametrize(("mode", "depth"), [("overlapped", 3), ("synchronous", 1)])
def test_no_more_rounds_than_asked_for_are_in_flight(make_pool, mode: str, depth: int) -> None:
    pool = make_pool(learner={"mode": mode}, ray={"rounds_in_flight": 3})
    seen, ask = [], pool.crew.ask

    def count(worker: Any, question: Any) -> None:
        ask(worker, question)
        seen.append(len(worker.questions))

    pool.crew.ask = count
    for _ in range(3):
        pool.collect(5)
    assert max(seen) == depth


def test_in_turn_each_round_is_one_of_every_actor(make_pool) -> None:
    pool = make_pool(learner={"mode": "synchronous"})
    assert [pool.collect(3).num_steps for _ in range(3)] == [12, 12, 12]


def test_in_turn_nobody_plays_a_second_round_before_the_others_have_played_one(cluster: Cluster, make_pool) -> None:
    pool = make_pool(learner={"mode": "synchronous"})
    pool.collect(3)
    cluster.handles[1].is_silent = True
    assert [pool.collect(3).num_steps for _ in range(4)] == [0, 0, 0, 0]
    assert cluster.handles[0].asked["collect"] == 2
    cluster.now += 4.0
    pool.collect(3)
    cluster.now += 4.0
    assert sum(pool.collect(3).num_steps for _ in range(3)) > 0  # another one has taken its place


def test_an_actor_that_does_not_begin_is_asked_for_once_more(cluster: Cluster, make_pool, caplog) -> None:
    cluster.starts_silent = True
    pool = make_pool(ray={"start_seconds": 30.0})
    pool.collect(10)
    cluster.starts_silent = False
    for _ in range(9):  # 36 s, each time less than half of the limit
        cluster.now += 4.0
        assert pool.collect(10).lost_actors == []  # it had not begun: nothing of it is lost
    assert "actor 1000 did not start (silent for" in caplog.text
    assert pool.collect(10).num_steps > 0
    row = pool.metrics()
    assert (row["actors/playing"], row["actors/lost"]) == (2, 0)
    assert row["actors/waiting_seconds"] > 30


def test_in_turn_a_shared_bandit_does_not_depend_on_who_answers_first(cluster: Cluster, make_pool) -> None:
    def window(late: int) -> list[tuple[int, float]]:
        pool = make_pool(bandit={"scope": "shared", "window": 6}, learner={"mode": "synchronous"})
        assert pool.collect(15).num_steps > 0
        handle = cluster.handles[-2 + late]
        for _ in range(4):
            handle.is_late = True
            assert pool.collect(15).num_steps == 0  # the other one has answered
            handle.is_late = False
            assert pool.collect(15).num_steps > 0
        return list(pool._bandit.plays)

    assert window(0) == window(1)


def test_in_turn_nobody_is_asked_before_all_have_begun(cluster: Cluster, make_pool) -> None:
    pool = make_pool(learner={"mode": "synchronous"})
    cluster.starts_late = True
    pool.collect(3)
    cluster.handles[0].is_late = False
    pool.collect(3)
    assert cluster.handles[0].asked == {"begin": 1}
    cluster.handles[1].is_late = False
    assert pool.collect(3).num_steps == 12


def test_a_place_without_room_is_named_once_and_another_number_of_workers_too(
    cluster: Cluster, make_pool, caplog
) -> None:
    pool = make_pool(ray={"start_seconds": 30.0})
    cluster.starts_silent = True
    for _ in range(22):
        cluster.now += 4.0
        pool.collect(10)
    assert len(cluster.handles) > 4
    assert caplog.text.count("did not start") == 2  # one for each place
    assert "more than ray.start_seconds" in caplog.text
    state = pool.state_dict()
    cluster.starts_silent = False
    pool = make_pool(ray={"workers": 1})
    pool.restore(state)
    pool.resume()
    assert "the bandits of 2 actors, and ray.workers is 1 now: they begin anew" in caplog.text


def test_a_shared_bandit_learns_from_all_and_survives_another_number_of_workers(cluster: Cluster, make_pool) -> None:
    shared = {"bandit": {"scope": "shared"}}
    pool = make_pool(**shared)
    collected = pool.collect(30)
    plays = [(episode.policy, episode.extrinsic_return) for episode in collected.episodes]
    assert len(plays) > 3
    assert sorted(pool._bandit.plays) == sorted(plays)
    known = pool._bandit.plays
    theirs = pool.crew.slots[1].pending
    assert sum(theirs) == 2  # one of each of its environments
    assert pool._shared(pool.crew.slots[0]) == (known, theirs)
    assert pool._shared(pool.crew.slots[0], is_fresh=True) == (known, [0, 0, 0])  # nobody begins before the first place
    pool.cut_episodes()
    state = pool.state_dict()
    other = make_pool(**shared, ray={"workers": 1})
    other.restore(state)
    other.resume()
    assert other._bandit.plays == [tuple(play) for play in state["bandit"]["plays"]]
    assert cluster.handles[-1].plan.life == state["next_life"]
    assert cluster.handles[-1].plan.state is None


def test_an_actor_that_cannot_be_killed_is_not_listened_to(cluster: Cluster, make_pool, monkeypatch) -> None:
    pool = make_pool()
    pool.collect(5)

    def refuse(handle: Handle) -> None:
        raise RayError("out of reach")

    monkeypatch.setattr(cluster, "kill", refuse)
    cluster.handles[0].failure = RayError("it was killed")
    for _ in range(3):
        pool.collect(5)
    assert lives(cluster) == [1_000, 1_001, 1_002]


def test_a_dead_actor_is_named_by_its_groups_and_another_one_takes_its_place(
    cluster: Cluster, make_pool, caplog
) -> None:
    pool = make_pool()
    pool.collect(10)
    cluster.handles[0].failure = RayError("it was killed")
    with caplog.at_level(logging.INFO, "meme57"):
        lost = [actor for _ in range(3) for actor in pool.collect(5).lost_actors]
    assert lost == [2_000, 2_001]  # the numbers of life 1000 with two groups
    assert lives(cluster) == [1_000, 1_001, 1_002]
    assert [handle.is_killed for handle in cluster.handles] == [True, False, False]
    assert cluster.handles[2].plan.slot == 0
    assert pool.metrics()["actors/lost"] == 1
    assert "actor 1000 on" in caplog.text
    assert "actor 1002 plays on" in caplog.text
    assert pool.crew.slots[0].num_failures == 0  # it has played


def test_a_silent_actor_is_given_up_and_its_machine_avoided(cluster: Cluster, make_pool) -> None:
    pool = make_pool()
    pool.collect(10)
    cluster.handles[1].is_silent = True
    collected = pool.collect(10)
    for _ in range(5):
        cluster.now += 4.0  # below half of the limit: else it is the driver that was away
        collected.add(pool.collect(10))
    assert collected.lost_actors == [2_002, 2_003]
    assert lives(cluster) == [1_000, 1_001, 1_002]
    assert "label_selector" not in cluster.handles[1].given
    assert cluster.handles[2].given["label_selector"] == {"ray.io/node-id": "!in(here)"}


def test_an_actor_that_is_asked_nothing_is_not_silent(cluster: Cluster, make_pool) -> None:
    pool = make_pool()
    pool.collect(10)
    pool.cut_episodes()
    cluster.now += 4.0  # below half of the limit: the driver did nothing else
    pool.crew.slots[0].worker.since -= 100.0
    pool.crew.give_up_silent()
    assert pool.crew.lost == []


def test_what_the_driver_did_for_long_is_not_an_actors_silence(cluster: Cluster, make_pool) -> None:
    pool = make_pool()
    pool.collect(10)
    cluster.handles[1].is_silent = True
    for _ in range(3):  # it has questions before it
        pool.collect(10)
    cluster.now += 1_000.0  # an evaluation
    assert pool.collect(10).lost_actors == []
    cluster.now += 1_000.0  # and another one: by now it would have answered
    assert pool.collect(10).lost_actors == [2_002, 2_003]


def test_what_ray_could_not_do_is_a_loss(cluster: Cluster, make_pool) -> None:
    pool = make_pool()
    pool.collect(5)
    cluster.handles[0].failure = RayTaskError(RayActorError("a machine is gone"))
    assert [actor for _ in range(3) for actor in pool.collect(5).lost_actors] == [2_000, 2_001]


def collect_again_and_again(cluster: Cluster, pool: RayPool) -> None:
    for _ in range(60):
        cluster.now += 4.0  # below half of the limit: the driver does nothing else
        pool.collect(5)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), MemoryError(), torch.OutOfMemoryError()])
def test_a_machines_trouble_is_a_loss_and_an_error_only_again_and_again(
    cluster: Cluster, make_pool, error: Exception
) -> None:
    pool = make_pool()
    pool.collect(5)
    cluster.handles[0].failure = RayTaskError(error)
    assert [actor for _ in range(3) for actor in pool.collect(5).lost_actors] == [2_000, 2_001]
    assert cluster.handles[2].given["label_selector"] == {"ray.io/node-id": "!in(here)"}
    cluster.fails = RayTaskError(error)
    pool.crew.slots[0].worker.handle.failure = cluster.fails
    with pytest.raises(ActorError, match=f"an actor failed: {type(error).__name__}"):
        collect_again_and_again(cluster, pool)
    assert len(cluster.handles) == 6  # two, one for the first loss, and three in a row


def test_rounds_that_all_take_longer_than_the_limit_end_the_run_with_what_to_type(cluster: Cluster, make_pool) -> None:
    pool = make_pool()
    cluster.only_begins = True
    with pytest.raises(ActorError, match=r"ray\.timeout_seconds=10, and 6 were given up: raise it, or lower actors\."):
        collect_again_and_again(cluster, pool)


def test_a_machine_with_other_code_is_named(cluster: Cluster, make_pool, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = make_pool()
    monkeypatch.setattr(ray_crew, "code_digest", lambda: "another")
    with pytest.raises(ActorError, match=r"has another meme57 than the driver .*: install the same version"):
        pool.collect(5)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (EnvironmentSetupError("no such ROM"), EnvironmentSetupError, "^no such ROM$"),
        (ZeroDivisionError("by zero"), ActorError, "an actor failed: ZeroDivisionError: by zero"),
        (RayError("X isn't serializable"), ActorError, "an actor failed: RayError: X isn't serializable"),
    ],
)
def test_what_our_code_could_not_do_ends_the_run(cluster: Cluster, make_pool, error, kind, words: str) -> None:
    pool = make_pool()
    pool.collect(5)
    cluster.handles[1].failure = RayTaskError(error)
    with pytest.raises(kind, match=words):
        [pool.collect(5) for _ in range(3)]


def test_a_cut_state_goes_on_with_the_same_lives_and_any_other_with_new_ones(cluster: Cluster, make_pool) -> None:
    pool = make_pool()
    pool.collect(10)
    running = pool.state_dict()
    pool.cut_episodes()
    cut = pool.state_dict()
    assert (running["is_exact"], cut["is_exact"], cut["lives"]) == (False, True, [1_000, 1_001])
    pool.restore(cut)
    pool.resume()
    assert lives(cluster)[2:] == [1_000, 1_001]
    assert all(handle.plan.is_exact for handle in cluster.handles[2:])
    pool.restore(running)
    pool.resume()
    assert lives(cluster)[4:] == [1_002, 1_003]
    assert not any(handle.plan.is_exact for handle in cluster.handles[4:])
    assert pool.collect(10).num_steps > 0


def test_newer_weights_reach_the_actors(make_pool, make_actor) -> None:
    played = make_actor(env={"num_envs": 4, "max_episode_frames": 40})
    pool = make_pool(learner={"mode": "synchronous"})
    pool.load_weights(played.network.state_dict(), played.novelty.state_dict(), 3)
    stored = pool._weights[0]
    pool.load_weights(played.network.state_dict(), played.novelty.state_dict(), 3)
    assert pool._weights[0] is stored  # nothing new
    first = [chunk.weight_version for _ in range(4) for chunk in pool.collect(10).chunks]
    pool.load_weights(played.network.state_dict(), played.novelty.state_dict(), 4)
    pool.cut_episodes()
    pool.restart()
    later = [chunk.weight_version for _ in range(4) for chunk in pool.collect(10).chunks]
    assert set(first) == {3}
    assert set(later) == {4}


@pytest.mark.parametrize(
    ("suspects", "selector"),
    [([], None), (["there"], "!in(there)"), (["elsewhere"], "!in(elsewhere)"), (["here", "there"], None)],
)
def test_suspects_are_avoided_while_there_are_others(suspects: list[str], selector: str | None) -> None:
    options = placement(Cluster(), RayParameters(cpus_per_worker=0.5, gpus_per_worker=0.25), suspects)
    assert (options["num_cpus"], options["num_gpus"], options["max_restarts"]) == (0.5, 0.25, 0)
    assert options["scheduling_strategy"] == "SPREAD"
    assert options.get("label_selector") == (None if selector is None else {"ray.io/node-id": selector})


def test_a_machine_without_cpus_is_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster()
    head = {"NodeID": "head", "Alive": True, "Resources": {}}
    gone = {"NodeID": "gone", "Alive": False, "Resources": {"CPU": 2.0}}
    here = {"NodeID": "here", "Alive": True, "Resources": {"CPU": 2.0}}
    monkeypatch.setattr(cluster, "nodes", lambda: [head, gone, here])
    assert "label_selector" not in placement(cluster, RayParameters(), ["here"])


def test_an_error_is_told_on_one_line_with_its_cause() -> None:
    assert one_line(ValueError("")) == "ValueError: "
    assert one_line(ValueError("first. second\nthird")) == "ValueError: first"
    told = one_line(RayError("\nthe actor died\nTraceback (most recent call last):\n  File x\nKeyError: 'a'\n\n"))
    assert told == "RayError: the actor died (KeyError: 'a')"


def test_a_cluster_of_our_own_asks_no_cloud_and_one_that_is_there_is_kept(cluster: Cluster) -> None:
    assert connect(cluster, num_cpus=3, object_store_mb=100)
    assert (cluster.given["address"], cluster.given["num_cpus"]) == ("local", 3)
    assert cluster.given["object_store_memory"] == 100 * 2**20
    assert cluster.proxies == [NOWHERE] * len(CLOUDS)
    assert not any(f"{url}_proxy" in os.environ for url in CLOUDS)
    assert not connect(cluster)  # it is connected


def test_a_cluster_that_an_address_names_has_its_own_sizes(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "machine:6379")
    assert connect(cluster, num_cpus=3, object_store_mb=100)
    assert cluster.given["address"] == "machine:6379"
    assert not {"num_cpus", "object_store_memory"} & set(cluster.given)
    cluster.shutdown()
    monkeypatch.setenv("RAY_ADDRESS", "nowhere:6379")
    with pytest.raises(ResourceError, match=r"a Ray cluster at nowhere:6379: .*\(nobody answers\)"):
        connect(cluster)


def test_a_cluster_of_our_own_asks_for_a_token_whatever_the_shell_says(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    connect(cluster)
    assert "RAY_AUTH_MODE" not in os.environ  # then Ray sets it to "token"
    cluster.shutdown()
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_ADDRESS", "machine:6379")
    connect(cluster)
    assert os.environ["RAY_AUTH_MODE"] == "disabled"  # that cluster is the user's


@pytest.mark.parametrize("error", [RayError("no token"), OSError("AF_UNIX path too long"), RuntimeError("no port")])
@pytest.mark.parametrize(("address", "kind", "words"), [
    ("", ActorError, "Ray could not start on this machine .*: the same command tries again"),
    ("machine:6379", ResourceError, "could not reach a Ray cluster at machine:6379: start one .*give its token"),
])  # fmt: skip
def test_a_cluster_that_cannot_be_is_one_line(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, error: Exception, address: str, kind: type, words: str
) -> None:
    def init(**_: Any) -> None:
        raise error

    monkeypatch.setattr(cluster, "init", init)
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(kind, match=words):
        connect(cluster)
