"""Collecting experience: in turn with learning, or in a thread at the same time."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

import torch
from torch import Tensor

from meme57.actors import Collected
from meme57.actors.local_pool import ActorPool
from meme57.stopping import never

Weights = tuple[dict[str, Tensor], dict[str, Tensor], int]
RoundSteps = Callable[[int], int]
"""Steps collected so far -> vector steps of the next round; 0 once there are enough."""


class Collector(Protocol):
    """The trainer's view of the actors."""

    def next(self) -> Collected:
        """Return the next round of experience, waiting for it if necessary."""

    def paused(self) -> AbstractContextManager[Collected]:
        """Return a context in which the actors pause; its value is what they had finished before."""

    def close(self) -> None:
        """Stop collecting."""


class TurnCollector:
    """Collects in the calling thread, always with the newest weights: bit-reproducible unless `stop` ends a round."""

    def __init__(
        self,
        pool: ActorPool,
        weights: Callable[[], Weights],
        *,
        round_steps: RoundSteps,
        stop: Callable[[], bool] = never,
    ) -> None:
        self._pool, self._weights, self._round_steps, self._stop = pool, weights, round_steps, stop
        self._num_steps = 0

    def next(self) -> Collected:
        """Send the weights and play a round."""
        self._pool.load_weights(*self._weights())
        collected = self._pool.collect(self._round_steps(self._num_steps), stop=self._stop)
        self._num_steps += collected.num_steps
        return collected

    @contextmanager
    def paused(self) -> Iterator[Collected]:
        """Do nothing: no actor runs between two calls."""
        yield Collected()

    def close(self) -> None:
        """Do nothing: there is nothing to stop."""


class ThreadCollector:
    """Collects in a thread while the learner learns; when a round waits, the actors wait too.

    `next` passes on the newest weights before it takes a round. So a round's weights are at most two rounds old. A
    pause, the end and `stop` end a round early. An error in the thread is raised by `next`.
    """

    def __init__(
        self,
        pool: ActorPool,
        weights: Callable[[], Weights],
        *,
        round_steps: RoundSteps,
        torch_threads: int,
        stop: Callable[[], bool] = never,
    ) -> None:
        self._pool, self._weights, self._round_steps, self._asked = pool, weights, round_steps, stop
        self._torch_threads = torch_threads
        self._num_steps = 0
        self._rounds: queue.Queue[Collected | BaseException] = queue.Queue(maxsize=1)
        self._playing = threading.Lock()
        self._stop = threading.Event()
        self._pausing = threading.Event()
        pool.load_weights(*weights())  # here, since processes that Ray starts end with the thread that started them
        _wait_for_streams()
        self._latest: deque[Weights] = deque(maxlen=1)
        self._thread = threading.Thread(target=self._run, name="meme57-actors", daemon=True)
        self._thread.start()

    def next(self) -> Collected:
        """Take a round, and pass the newest weights to the next one."""
        self._latest.append(self._weights())  # first: a thread that waits with a round begins the next immediately
        taken = self._rounds.get()
        if isinstance(taken, BaseException):
            raise taken
        return taken

    @contextmanager
    def paused(self) -> Iterator[Collected]:
        """End the round in progress, and yield all that was collected."""
        finished = Collected()
        self._pausing.set()
        while not self._playing.acquire(timeout=0.05):
            self._drain(finished)
        try:
            self._drain(finished)
            _wait_for_streams()
            yield finished
            _wait_for_streams()
        finally:
            self._pausing.clear()
            self._playing.release()

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        while self._thread.is_alive():
            self._drain(Collected())
            self._thread.join(timeout=0.05)

    def _drain(self, into: Collected) -> None:
        while True:
            try:
                taken = self._rounds.get_nowait()
            except queue.Empty:
                return
            if isinstance(taken, BaseException):
                raise taken
            into.add(taken)

    def _run(self) -> None:
        torch.set_num_threads(self._torch_threads)
        try:
            with own_stream():
                self._play()
        except BaseException as error:
            self._rounds.put(error)

    def _play(self) -> None:
        while not self._stop.is_set():
            steps = self._round_steps(self._num_steps)
            if self._pausing.is_set() or steps == 0:
                time.sleep(0.001)
                continue
            with self._playing:
                if self._latest:
                    self._pool.load_weights(*self._latest.pop())
                collected = self._pool.collect(steps, stop=self._ends_round)
                self._num_steps += collected.num_steps
                self._rounds.put(collected)

    def _ends_round(self) -> bool:
        return self._pausing.is_set() or self._stop.is_set() or self._asked()


def _wait_for_streams() -> None:
    """Wait, on a GPU, for the work of every stream: around a pause, actors and learner touch each other's tensors."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def own_stream() -> AbstractContextManager[object]:
    """Use, on a GPU, a stream with priority over the learner's: acting must not wait for an update to end."""
    if not torch.cuda.is_available():
        return nullcontext()
    return torch.cuda.stream(torch.cuda.Stream(priority=-1))  # type: ignore[no-untyped-call]
