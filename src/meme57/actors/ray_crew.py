"""The actors of a Ray pool: started, asked, listened to, and given up if they fail or fall silent.

An answer is taken once, in order, from the actor that holds the place now. Answers of an actor that was given up are
never read. So nothing is counted twice. Source: [ours].
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Any

import torch

from meme57.actors.actor import Collected
from meme57.actors.local_pool import num_groups
from meme57.actors.messages import unpack_answer
from meme57.actors.ray_cluster import connect, import_ray
from meme57.actors.ray_slots import Attendance, Slot, Suspects, Worker, one_line, placement
from meme57.actors.remote_actor import Plan, RemoteActor, Shared, code_digest
from meme57.config import Parameters
from meme57.envs import EnvSpec
from meme57.errors import ActorError, Meme57Error, ReplayError

CONTROL = "control"
"""A second thread of each actor, which answers while the first one plays a round."""
MOST_SILENCES = 3
"""Actors of each place that may fall silent, in a row, while no actor at all answers a round."""
MOST_MACHINE_FAILURES = 3
"""Actors of one place that may fail, in a row, by what may be their machine's trouble."""
MACHINE_ERRORS = (OSError, MemoryError, torch.OutOfMemoryError)

logger = logging.getLogger(__name__)


ShareBandit = Callable[[Slot, bool], Shared | None]
"""Place, and whether its actor begins with the others -> what the actor must know of a shared bandit."""


class RayCrew:
    """The actors in `slots`, and the cluster they play on. Their pool decides what to ask and what becomes of answers.

    Args:
        next_life: number of the next actor; every actor of the run has its own.
    """

    def __init__(
        self,
        parameters: Parameters,
        env: EnvSpec,
        slots: list[Slot],
        *,
        next_life: int,
        actor_class: type[RemoteActor],
        clock: Callable[[], float],
    ) -> None:
        self.ray = import_ray("actors.pool=ray")
        self._parameters, self._env, self._clock = parameters, env, clock
        self._settings, self._actor_class = parameters.ray, actor_class
        self.slots, self.next_life = slots, next_life
        self.lost: list[int] = []
        """Numbers of the actors lost since the pool last reported them."""
        self.counts = dict.fromkeys(("steps", "bytes", "lost"), 0.0)
        self.attendance = Attendance(clock)
        self._suspects = Suspects(3 * self._settings.timeout_seconds, clock)
        self._is_ours = self._has_started = False
        self._num_silences = 0
        self._last_poll = clock()

    def start(self) -> None:
        """Connect to the cluster, or start one; do nothing the second time."""
        if self._has_started:
            return
        needed = math.ceil(self._settings.workers * self._settings.cpus_per_worker)
        self._is_ours = connect(self.ray, num_cpus=needed, object_store_mb=self._settings.object_store_mb)
        self._has_started = True
        self.attendance.begin()

    def close(self) -> None:
        """End the actors, and the cluster if this crew started it."""
        self.dismiss(self.slots)
        if self._is_ours:
            self.ray.shutdown()
        self._has_started = self._is_ours = False

    def dismiss(self, slots: list[Slot]) -> None:
        """End the actors; from here on these are the places."""
        for slot in self.slots:
            if slot.worker is not None:
                self._kill(slot.worker)
                slot.worker = None
        self.slots = slots

    def playing(self) -> list[Worker]:
        """Return the actors that have begun."""
        return [slot.worker for slot in self.slots if slot.worker is not None and slot.worker.has_begun]

    def ask(self, worker: Worker, question: Any) -> None:
        """Remember the reference to an answer that is to come."""
        if not worker.questions:
            worker.since = self._clock()
        worker.questions.append(question)

    def revive(self, weights: tuple[Any, int], shared: ShareBandit) -> None:
        """Begin an actor in every empty place whose time has come."""
        now = self._clock()
        for slot in self.slots:
            if slot.worker is None and now >= slot.not_before:
                slot.worker = self._begin(slot, weights, shared)

    def poll(self, seconds: float, take: Callable[[Slot, Collected], None]) -> None:
        """Wait for the first answer, hand all that are ready to `take`, and give up silent actors.

        Raises:
            Meme57Error: code of this project failed in an actor, which it would in any other.
            ActorError: actors failed again and again, or every round takes longer than the limit.
        """
        now = self._clock()
        if now - self._last_poll > self._settings.timeout_seconds / 2:  # the driver was busy with something else
            self._forgive()
        heads = {slot.worker.questions[0]: slot for slot in self.slots if slot.worker and slot.worker.questions}
        if not heads:
            time.sleep(min(seconds, 0.05))
        else:
            ready, _ = self.ray.wait(list(heads), num_returns=1, timeout=seconds)
            if ready:
                ready, _ = self.ray.wait(list(heads), num_returns=len(heads), timeout=0)
            for reference in ready:
                self._answered(heads[reference], reference, take)
            del heads
            self.give_up_silent()
        self._last_poll = self._clock()

    def give_up_silent(self) -> None:
        """Give up the actors that were asked something and have not answered within the limit."""
        now = self._clock()
        for slot in self.slots:
            worker = slot.worker
            if worker is None or not worker.questions:
                continue
            limit = self._settings.timeout_seconds if worker.has_begun else self._settings.start_seconds
            if now - worker.since > limit:
                self._suspects.add(worker.node)
                self._num_silences += worker.has_begun
                name = "timeout_seconds" if worker.has_begun else "start_seconds"
                self._lose(slot, f"silent for {now - worker.since:.0f} s, more than ray.{name}")
        if self._num_silences >= MOST_SILENCES * len(self.slots):
            raise ActorError(
                f"no actor has answered a round within ray.timeout_seconds={self._settings.timeout_seconds:g}, and "
                f"{self._num_silences} were given up: raise it, or lower actors.weights_period_steps"
            )

    def _begin(self, slot: Slot, weights: tuple[Any, int], shared: ShareBandit) -> Worker:
        is_exact, life = slot.life is not None, slot.life
        if life is None:
            life, self.next_life = self.next_life, self.next_life + 1
        plan = Plan(slot.number, life, shared(slot, slot.num_failures == 0), slot.state, is_exact, code_digest())
        handle = (
            self.ray.remote(concurrency_groups={CONTROL: 1})(self._actor_class)
            .options(**placement(self.ray, self._settings, self._suspects.current()))
            .remote()
        )
        worker = Worker(life, handle)
        self.ask(worker, handle.begin.remote(self._parameters, self._env, plan, *weights))
        return worker

    def _forgive(self) -> None:
        for slot in self.slots:
            if slot.worker is not None and not slot.worker.is_forgiven:
                slot.worker.since, slot.worker.is_forgiven = self._clock(), True

    def _answered(self, slot: Slot, reference: Any, take: Callable[[Slot, Collected], None]) -> None:
        worker = slot.worker
        assert worker is not None
        try:
            data = self.ray.get(reference, timeout=self._settings.timeout_seconds)
            collected, facts = unpack_answer(data)
        except self.ray.exceptions.RayTaskError as error:
            self._raise_or_lose(slot, error)
            return
        except (self.ray.exceptions.RayError, ReplayError) as error:
            self._lose(slot, one_line(error))
            return
        worker.questions.popleft()
        worker.since, worker.is_forgiven = self._clock(), False
        if not worker.has_begun:
            worker.has_begun, worker.node = True, facts["node"]
            worker.where = f"{facts['host']} (process {facts['process']})"
            if slot.num_failures:
                logger.info("actor %d plays on %s", worker.life, worker.where)
        else:
            slot.num_failures = self._num_silences = 0
        slot.state, slot.pending = facts.get("state", slot.state), facts.get("pending", slot.pending)
        take(slot, collected)
        self.counts["steps"] += collected.num_steps
        self.counts["bytes"] += len(data)

    def _raise_or_lose(self, slot: Slot, error: Any) -> None:
        """Treat a failure of Ray or of a machine as a lost actor; raise one of our code: it would fail everywhere."""
        cause: Any = getattr(error, "cause", None)
        # an error of exactly this class stands for one of our code that could not be pickled
        is_rays = isinstance(cause, self.ray.exceptions.RayError) and type(cause) is not self.ray.exceptions.RayError
        is_machines = isinstance(cause, MACHINE_ERRORS) and not isinstance(cause, Meme57Error)
        if is_rays or (is_machines and slot.num_failures < MOST_MACHINE_FAILURES):
            if is_machines and slot.worker is not None:
                self._suspects.add(slot.worker.node)
            self._lose(slot, one_line(cause))
            return
        if isinstance(cause, Meme57Error):
            raise cause
        raise ActorError(f"an actor failed: {one_line(cause or error)}") from error

    def _lose(self, slot: Slot, reason: str) -> None:
        worker = slot.lose(self._clock())
        self._kill(worker)
        if not worker.has_begun:  # a place that the cluster has no room for fails again and again
            level = logging.WARNING if slot.num_failures == 1 else logging.DEBUG
            logger.log(level, "actor %d did not start (%s): requesting another one", worker.life, reason)
            return
        groups = num_groups(self._parameters, slot.num_envs)
        self.lost += range(worker.life * groups, (worker.life + 1) * groups)
        self.counts["lost"] += 1
        logger.warning(
            "actor %d on %s is lost (%s): its unfinished episodes are lost, another actor takes its place",
            worker.life, worker.where, reason,
        )  # fmt: skip

    def _kill(self, worker: Worker) -> None:
        try:
            self.ray.kill(worker.handle)
        except Exception as error:  # it may be gone or out of reach; its answers are ignored from here on
            logger.debug("actor %d could not be killed: %s", worker.life, error)
