"""Learning beside drawing: every drawn batch is learned from once, in order, and priorities come home."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from meme57.actors import LocalPool
from meme57.blueprint import agent_spec, make_replay
from meme57.config import Parameters
from meme57.envs import env_spec
from meme57.errors import ReplayError
from meme57.learning.learner import Learner
from meme57.learning.rate_limiter import RateLimiter
from meme57.learning.updates import OverlappedUpdates, TurnUpdates
from meme57.replay import SequenceReplay


class Bench:
    """A real learner and a real replay with the corridor's experience; notes which sequences were learned from."""

    def __init__(self, parameters: Parameters, kind: Callable[..., Any]) -> None:
        env = env_spec(parameters.env)
        spec = agent_spec(parameters, env)
        self.learner, self.replay = Learner(parameters, spec), make_replay(parameters, env)
        self.limiter = RateLimiter(samples_per_insert=2.0, min_sequences=4, batch_size=4)
        pool = LocalPool(parameters, env, spec)
        self.limiter.insert(self.replay.add(pool.collect(60).chunks))
        pool.close()
        self.learned: list[list[int]] = []
        self.metrics: list[dict[str, torch.Tensor]] = []
        self.priorities: list[np.ndarray] = []
        self._prepare, self._finish = self.learner.prepare, self.learner.finish
        self.learner.prepare, self.learner.finish = self._note_batch, self._note_finish  # type: ignore[method-assign]
        self.updates = kind(
            self.learner, self.replay, self.limiter, np.random.default_rng(3), batch_size=4,
            on_update=self.metrics.append,
        )  # fmt: skip

    def _note_batch(self, batch: Any) -> Any:
        self.learned.append(batch.sequence_ids.tolist())
        return self._prepare(batch)

    def _note_finish(self, pending: Any) -> Any:
        priorities, metrics = self._finish(pending)
        self.priorities.append(priorities)
        return priorities, metrics

    @property
    def num_drawn(self) -> int:
        return self.limiter.state_dict()["drawn"]


@pytest.fixture(name="make_bench")
def _make_bench(make_parameters, request) -> Callable[..., Bench]:
    def make(kind: Callable[..., Any], **groups: dict[str, Any]) -> Bench:
        bench = Bench(make_parameters(**groups), kind)
        request.addfinalizer(bench.updates.close)
        return bench

    return make


@pytest.mark.parametrize("kind", [TurnUpdates, OverlappedUpdates])
def test_it_updates_until_the_limiter_says_no_and_writes_priorities_back(make_bench, kind) -> None:
    bench = make_bench(kind)
    owed = int(2.0 * (len(bench.replay) - 4)) // 4
    assert owed > 5
    steps = 0
    while bench.updates.step():
        steps += 1
    assert steps == len(bench.learned) == bench.learner.num_updates == owed
    assert bench.num_drawn == 4 * owed
    assert len(bench.metrics) == owed
    expected = dict.fromkeys(bench.replay.sequence_ids().tolist(), 1.0)
    for numbers, priorities in zip(bench.learned, bench.priorities, strict=True):
        expected.update(zip(numbers, np.maximum(priorities, 1e-6).tolist(), strict=True))
    np.testing.assert_allclose(bench.replay.priorities(), list(expected.values()), rtol=1e-6)
    assert min(expected.values()) < 1.0
    assert not bench.updates.step()


def test_one_batch_is_drawn_ahead_by_the_priorities_of_its_time(make_bench) -> None:
    """Overlapped, the first two batches are those that one draws when no priority has changed yet."""
    bench, other = make_bench(OverlappedUpdates), make_bench(TurnUpdates)
    rng = np.random.default_rng(3)
    expected = [other.replay.sample(4, rng).sequence_ids.tolist() for _ in range(2)]
    for _ in range(2):
        bench.updates.step()
    bench.updates.drain()
    assert bench.learned[:2] == expected


def test_drain_learns_from_what_was_drawn_and_leaves_nothing_in_flight(make_bench) -> None:
    bench = make_bench(OverlappedUpdates)
    for _ in range(3):
        assert bench.updates.step()
    bench.updates.drain()
    assert bench.num_drawn == 4 * bench.learner.num_updates == 4 * len(bench.metrics) == 16
    bench.updates.drain()  # nothing more
    assert bench.learner.num_updates == 4
    assert bench.updates.step()


def test_prepared_in_the_thread_or_by_the_learner_the_update_is_the_same(make_bench) -> None:
    """On a GPU the learner prepares its batches itself; here both ways run on the CPU."""
    benches = [make_bench(OverlappedUpdates) for _ in range(2)]
    benches[1].updates._prepares_ahead = False
    for bench in benches:
        assert bench.updates.step()
        bench.updates.drain()
    assert benches[0].learned == benches[1].learned
    for one, two in zip(*(bench.learner.network.parameters() for bench in benches), strict=True):
        assert torch.equal(one, two)


def test_an_error_while_drawing_surfaces(make_bench, monkeypatch) -> None:
    bench = make_bench(OverlappedUpdates)

    def damaged(*_: Any, **__: Any) -> Any:
        raise ReplayError("compressed frames are damaged")

    monkeypatch.setattr(SequenceReplay, "sample", damaged)
    with pytest.raises(ReplayError, match="compressed frames are damaged"):
        bench.updates.step()


def test_a_started_update_reads_its_own_batch(make_bench) -> None:
    """Buffers are handed on only when their update is finished: the same learning as with fresh ones each time."""
    bench = make_bench(OverlappedUpdates)
    seen: list[int] = []
    prepare = bench.learner.prepare

    def checking(batch: Any) -> Any:
        seen.append(id(batch))
        return prepare(batch)

    bench.learner.prepare = checking
    for _ in range(8):
        bench.updates.step()
    assert len(set(seen)) == 3
    assert all(one != two for one, two in itertools.pairwise(seen))
