"""Collecting beside the learner: order, back-pressure, pauses, and errors that surface."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from meme57.actors import Collected
from meme57.learning.collector import ThreadCollector, TurnCollector


class Counting:
    """A pool whose rounds are numbered in `num_steps`; the real one is used in the trainer's tests."""

    num_envs = 1

    def __init__(self, fails_at: int | None = None) -> None:
        self.fails_at, self.round, self.versions = fails_at, 0, []
        self.is_playing = False
        self.threads: set[str] = set()
        self.loaded_in: list[str] = []
        self.steps: list[int] = []

    def load_weights(self, network: dict, novelty: dict, version: int) -> None:
        self.versions.append(version)
        self.loaded_in.append(threading.current_thread().name)

    def collect(self, num_vector_steps: int, *, stop: Callable[[], bool]) -> Collected:
        self.is_playing = True
        self.steps.append(num_vector_steps)
        self.threads.add(threading.current_thread().name)
        self.round += 1
        time.sleep(0.002)
        if self.round == self.fails_at:
            raise RuntimeError("the emulator broke")
        self.is_playing = False
        return Collected(num_steps=self.round)


def weights(version: list[int]) -> Callable[[], tuple[dict, dict, int]]:
    return lambda: ({}, {}, version[0])


@pytest.fixture(name="threaded")
def _threaded(request):
    def make(pool: Counting, version: list[int]) -> ThreadCollector:
        collector = ThreadCollector(pool, weights(version), round_steps=lambda played: 5, torch_threads=1)
        request.addfinalizer(collector.close)
        return collector

    return make


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_turns_send_the_newest_weights_before_every_round() -> None:
    pool, version = Counting(), [0]
    collector = TurnCollector(pool, weights(version), round_steps=lambda played: 5)
    for number in (1, 2, 3):
        version[0] = number
        assert collector.next().num_steps == number
    assert pool.versions == [1, 2, 3]
    assert pool.threads == {threading.current_thread().name}
    with collector.paused() as finished:
        assert finished.num_steps == 0


def test_rounds_come_in_order_from_another_thread(threaded) -> None:
    pool = Counting()
    collector = threaded(pool, [0])
    assert [collector.next().num_steps for _ in range(20)] == list(range(1, 21))
    assert pool.threads == {"meme57-actors"}
    assert pool.loaded_in[0] == threading.current_thread().name  # it may start Ray, which ends with its thread


def test_actors_wait_for_the_learner(threaded) -> None:
    pool = Counting()
    threaded(pool, [0])
    time.sleep(0.2)
    assert pool.round == 2  # one round waits in the queue, one is finished and waits to enter


def test_weights_are_at_most_two_rounds_old(threaded) -> None:
    pool, version = Counting(), [0]
    collector = threaded(pool, version)
    for number in range(1, 15):
        version[0] = number
        taken = collector.next().num_steps
        wait_for(lambda taken=taken: pool.round >= taken + 2 - 1)
    assert pool.versions[0] == 0
    assert pool.versions == sorted(pool.versions)
    assert pool.versions[-1] >= 12


def test_the_round_that_a_taken_one_makes_room_for_has_the_newest_weights(request) -> None:
    pool, version = Counting(), [0]

    def slow() -> tuple[dict, dict, int]:
        time.sleep(0.05)
        return {}, {}, version[0]

    collector = ThreadCollector(pool, slow, round_steps=lambda played: 5, torch_threads=1)
    request.addfinalizer(collector.close)
    wait_for(lambda: pool.round == 2 and not pool.is_playing)
    time.sleep(0.05)  # now it waits to hand over
    version[0] = 1
    collector.next()
    wait_for(lambda: pool.round == 3 and not pool.is_playing)
    assert pool.versions == [0, 1]


def test_a_pause_stands_still_and_hands_over_every_round_once(threaded) -> None:
    pool = Counting()
    collector = threaded(pool, [0])
    rounds = [collector.next().num_steps]
    with collector.paused() as finished:
        played = pool.round
        time.sleep(0.05)
        assert pool.round == played
        assert not pool.is_playing
    rounds.append(collector.next().num_steps)
    # rounds are numbered, so the sum tells which were handed over: all up to the pause
    assert rounds[0] + finished.num_steps == played * (played + 1) // 2
    assert rounds[1] == played + 1


@pytest.mark.timeout(60)
@pytest.mark.parametrize("fails_at", [1, 3])
def test_an_error_in_the_thread_surfaces(threaded, fails_at: int) -> None:
    collector = threaded(Counting(fails_at), [0])
    for _ in range(fails_at - 1):
        collector.next()
    with pytest.raises(RuntimeError, match="the emulator broke"):
        collector.next()
    assert not collector._thread.is_alive()


@pytest.mark.timeout(60)
def test_an_error_beside_a_pause_is_not_lost(threaded) -> None:
    pool = Counting(2)
    collector = threaded(pool, [0])
    wait_for(lambda: pool.round == 2)

    def pause_and_go_on() -> None:
        with collector.paused():
            pass
        collector.next()

    with pytest.raises(RuntimeError, match="the emulator broke"):
        pause_and_go_on()


@pytest.mark.timeout(60)
def test_close_ends_the_thread_though_rounds_wait() -> None:
    collector = ThreadCollector(Counting(), weights([0]), round_steps=lambda played: 5, torch_threads=1)
    time.sleep(0.05)
    collector.close()
    assert not collector._thread.is_alive()
    collector.close()


def test_rounds_are_as_long_as_what_was_collected_asks_for() -> None:
    pool = Counting()
    collector = TurnCollector(pool, weights([0]), round_steps=lambda played: 100 - played)
    for _ in range(3):
        collector.next()
    assert pool.steps == [100, 99, 97]  # rounds of 1, 2, 3 steps


def test_the_thread_waits_once_there_is_enough(request) -> None:
    pool = Counting()
    collector = ThreadCollector(pool, weights([0]), round_steps=lambda played: max(0, 3 - played), torch_threads=1)
    request.addfinalizer(collector.close)
    assert [collector.next().num_steps for _ in range(2)] == [1, 2]
    time.sleep(0.05)
    assert pool.steps == [3, 2]


@pytest.mark.timeout(60)
def test_a_pause_the_end_and_a_stop_end_a_round_of_hours() -> None:
    class Endless(Counting):
        def collect(self, num_vector_steps: int, *, stop: Callable[[], bool]) -> Collected:
            self.is_playing = True
            while not stop():
                time.sleep(0.001)
            self.is_playing = False
            return super().collect(num_vector_steps, stop=stop)

    pool, asked = Endless(), threading.Event()
    collector = ThreadCollector(
        pool, weights([0]), round_steps=lambda played: 1_000_000, torch_threads=1, stop=asked.is_set
    )
    wait_for(lambda: pool.is_playing)
    with collector.paused() as finished:
        assert finished.num_steps == 1
    wait_for(lambda: pool.is_playing)
    asked.set()
    assert collector.next().num_steps == 2
    asked.clear()
    wait_for(lambda: pool.is_playing)
    collector.close()
    assert not collector._thread.is_alive()
