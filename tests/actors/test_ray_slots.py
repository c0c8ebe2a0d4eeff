"""The driver's book-keeping, with a clock of the test's; and what happens without Ray."""

from __future__ import annotations

import logging
import sys

import pytest

from meme57.actors import make_pool
from meme57.actors.ray_slots import Attendance, Slot, Suspects, Worker, backoff_seconds, first_choices
from meme57.envs import env_spec
from meme57.errors import ConfigurationError, ResourceError


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_first_loss_is_answered_at_once_and_later_ones_ever_later() -> None:
    assert [backoff_seconds(n) for n in (0, 1, 2, 3, 20)] == [0, 1, 2, 4, 30]
    slot = Slot(0, 4, [1, 1, 2], worker=Worker(7, None), life=7)
    lost = slot.lose(50.0)
    assert (lost.life, slot.worker, slot.not_before, slot.num_failures) == (7, None, 50.0, 1)
    assert (slot.pending, slot.life) == ([0, 0, 0], None)  # nothing is pending there; a life is not given twice
    slot.worker = Worker(8, None)
    slot.lose(60.0)
    assert slot.not_before == 61.0


def test_the_first_choices_of_all_places_are_one_sweep() -> None:
    assert first_choices(2, 0, 3) == [1, 1, 0]
    assert first_choices(2, 2, 3) == [1, 0, 1]
    assert first_choices(7, 4, 3) == [2, 3, 2]


def test_suspicion_ends() -> None:
    clock = Clock()
    suspects = Suspects(10.0, clock)
    suspects.add("b")
    suspects.add("")  # nobody knew where it was
    clock.now += 6.0
    suspects.add("a")
    assert suspects.current() == ["a", "b"]
    clock.now += 5.0
    assert suspects.current() == ["a"]


def test_waiting_is_told_now_and_then_and_counted(caplog) -> None:
    clock = Clock()
    attendance = Attendance(clock)
    attendance.begin()
    with caplog.at_level(logging.INFO, "meme57"):
        for _ in range(40):
            clock.now += 1.0
            attendance.update(0, 3)
        assert caplog.messages == ["no actor plays: learning waits for the first of 3"]
        attendance.update(2, 3)
        assert caplog.messages[-1] == "2 of 3 actors play"
        attendance.update(2, 3)
        clock.now += 5.0
        attendance.update(0, 3)
        clock.now += 2.0
        attendance.update(1, 3)
    assert caplog.messages[-2:] == ["no actor plays: learning waits for the first of 3", "1 of 3 actors play"]
    assert attendance.waited_seconds == 42.0


def test_without_ray_one_line_says_what_to_type(make_parameters, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    parameters = make_parameters(actors={"pool": "ray"})
    words = r"actors\.pool=ray needs Ray: install it with `pip install 'meme57\[ray\]'`"
    with pytest.raises(ResourceError, match=words):
        make_pool(parameters, env_spec(parameters.env), None)


def test_more_actors_than_environments_are_refused(make_parameters) -> None:
    with pytest.raises(ConfigurationError, match=r"ray\.workers=4 is more than env\.num_envs=3"):
        make_parameters(actors={"pool": "ray"}, ray={"workers": 4})


def test_the_cluster_is_no_part_of_the_fingerprint(make_parameters) -> None:
    small, large = make_parameters(ray={"workers": 1}), make_parameters(ray={"workers": 2, "timeout_seconds": 3.0})
    assert small.fingerprint() == large.fingerprint()
