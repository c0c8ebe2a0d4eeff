"""Updates from replay: one after the other, or with the next batch drawn during the present update."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from meme57.errors import NonFiniteLossError
from meme57.learning.learner import Learner, Metrics, Pending, Prepared
from meme57.learning.rate_limiter import RateLimiter
from meme57.learning.tensors import pin
from meme57.replay import SequenceReplay
from meme57.replay.chunks import SequenceBatch

OnUpdate = Callable[[Metrics], object]
Drawn = tuple[SequenceBatch, Prepared | None]


@contextmanager
def _named(batch: SequenceBatch) -> Iterator[None]:
    """Attach to a `NonFiniteLossError` the batch that caused it."""
    try:
        yield
    except NonFiniteLossError as error:
        error.batch = batch
        raise


@dataclass
class Updates:
    """The trainer's view of learning from replay."""

    learner: Learner
    replay: SequenceReplay
    limiter: RateLimiter
    rng: np.random.Generator
    batch_size: int
    on_update: OnUpdate

    def __post_init__(self) -> None:
        """Set up what a subclass needs in addition."""

    def step(self) -> bool:
        """Make one more update if the rate limiter allows it; return False if it does not."""
        raise NotImplementedError

    def drain(self) -> None:
        """Finish every update whose batch was drawn; afterwards nothing is in flight."""

    def close(self) -> None:
        """Stop drawing."""


class TurnUpdates(Updates):
    """Draws, learns and writes priorities back in the calling thread: bit-reproducible on a CPU."""

    def __post_init__(self) -> None:
        self._batch = self.replay.new_batch(self.batch_size)

    def step(self) -> bool:
        """Make one whole update."""
        if not self.limiter.may_update:
            return False
        batch = self.replay.sample(self.batch_size, self.rng, out=self._batch)
        with _named(batch):
            priorities, metrics = self.learner.update(batch)
        self.replay.update_priorities(batch.sequence_ids, priorities)
        self.limiter.draw()
        self.on_update(metrics)
        return True


class OverlappedUpdates(Updates):
    """A thread draws the next batch during an update; the host waits for the device only after giving it new work.

    On a CPU the thread also prepares the batch: the target network's outputs and the novelty networks' training are
    more than a third of an update's work. The gain depends on the cores (docs/performance.md).

    At most one batch waits, and one update is in flight while the next one is sent. So the priorities for drawing a
    batch, and its target network, are at most two updates old. A drawn batch counts immediately, and is always learned
    from (`drain`). An error in the thread is raised by `step`.
    """

    def __post_init__(self) -> None:
        on_gpu = self.learner.device.type == "cuda"
        self._prepares_ahead, self._torch_threads = not on_gpu, torch.get_num_threads()
        batches = [self.replay.new_batch(self.batch_size) for _ in range(3)]
        # one waits, one is learned from, one is in flight
        self._free = [pin(batch) if on_gpu else batch for batch in batches]
        self._wanted: queue.SimpleQueue[SequenceBatch | None] = queue.SimpleQueue()
        self._drawn: queue.SimpleQueue[Drawn | BaseException] = queue.SimpleQueue()
        self._is_drawing = False
        self._in_flight: tuple[SequenceBatch, Pending] | None = None
        self._thread = threading.Thread(target=self._run, name="meme57-replay", daemon=True)
        self._thread.start()

    def step(self) -> bool:
        """Send one update to the device and finish the one before."""
        self._draw_next()
        if not self._is_drawing:
            self._finish()
            return False
        self._hand_over()
        return True

    def drain(self) -> None:
        """Learn from the batch that was drawn and finish its update."""
        if self._is_drawing:
            self._hand_over(draw_next=False)
        self._finish()

    def close(self) -> None:
        """End the thread."""
        self._wanted.put(None)
        self._thread.join()

    def _draw_next(self) -> None:
        if not self._is_drawing and self.limiter.may_update:
            self.limiter.draw()
            self._wanted.put(self._free.pop())
            self._is_drawing = True

    def _hand_over(self, *, draw_next: bool = True) -> None:
        drawn = self._drawn.get()
        self._is_drawing = False
        if isinstance(drawn, BaseException):
            raise drawn
        if draw_next:
            self._draw_next()
        batch, prepared = drawn
        pending = self.learner.start(prepared or self.learner.prepare(batch))
        self._finish()
        self._in_flight = batch, pending

    def _finish(self) -> None:
        if self._in_flight is None:
            return
        (batch, pending), self._in_flight = self._in_flight, None
        with _named(batch):
            priorities, metrics = self.learner.finish(pending)
        self.replay.update_priorities(batch.sequence_ids, priorities)
        self._free.append(batch)
        self.on_update(metrics)

    def _run(self) -> None:
        torch.set_num_threads(self._torch_threads)  # each thread has its own number
        while (batch := self._wanted.get()) is not None:
            try:
                self.replay.sample(self.batch_size, self.rng, out=batch)
                self._drawn.put((batch, self.learner.prepare(batch) if self._prepares_ahead else None))
            except BaseException as error:
                self._drawn.put(error)
