"""Actors on Ray: `ray.workers` of them, on this machine or on a cluster, behind the interface of the local pool.

Each actor plays its share of the environments with a copy of the policy and answers each round with a block of bytes.
The driver pulls what is ready. It keeps at most `ray.rounds_in_flight` requests open at each actor, so that actors wait
for a slower learner and no queue grows. An answer is taken once, in order, from the actor that holds the place now.
Answers of an actor that was given up are never read. So nothing is counted twice. Source: [ours].
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Any

from torch import Tensor

from meme57.actors.actor import Collected
from meme57.actors.local_pool import num_groups
from meme57.actors.messages import pack_weights, unpack_answer
from meme57.actors.ray_cluster import connect, import_ray
from meme57.actors.ray_slots import Attendance, Slot, Suspects, Worker, first_choices, one_line, placement
from meme57.actors.remote_actor import Plan, RemoteActor, Shared
from meme57.blueprint import make_bandits
from meme57.config import Parameters
from meme57.envs import EnvSpec
from meme57.errors import ActorError, Meme57Error, ReplayError
from meme57.stopping import never

POLL_SECONDS = 1.0
"""Longest time that `collect` waits for an answer: the caller may want to stop."""
STATE_SECONDS = 30.0
"""How often an actor reports its state, for an actor that may have to replace it."""
CONTROL = "control"
"""A second thread of each actor, which answers while the first one plays a round."""
LIVES = 1_000
"""First life of pool 0, and the distance between two pools' lives: above every actor number of a local pool."""

logger = logging.getLogger(__name__)


class RayPool:
    """See the module. `collect` returns about one round of all environments, from whichever actors were fastest.

    With `learner.mode: synchronous` it returns exactly one round of each actor, in a fixed order, with the newest
    weights. That is bit-reproducible as long as no actor is lost.
    """

    def __init__(
        self,
        parameters: Parameters,
        env: EnvSpec,
        *,
        index: int = 0,
        actor_class: type[RemoteActor] = RemoteActor,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ray = import_ray("actors.pool=ray")
        self._parameters, self._env, self._clock = parameters, env, clock
        self._settings, self._actor_class = parameters.ray, actor_class
        self._in_lockstep = parameters.learner.mode == "synchronous"
        self._depth = 1 if self._in_lockstep else self._settings.rounds_in_flight
        self.num_envs = parameters.env.num_envs
        self._slots = self._make_slots()
        self._next_life = (index + 1) * LIVES
        is_shared = parameters.bandit.scope == "shared"
        self._bandit = make_bandits(parameters, num_envs=self.num_envs, index=self._next_life)[0] if is_shared else None
        self._weights: tuple[Any, int] = (None, 0)
        self._suspects = Suspects(3 * self._settings.timeout_seconds, clock)
        self._lost: list[int] = []
        self._is_cut = False
        self._is_ours = self._has_started = False
        self._last_poll = clock()
        self._attendance = Attendance(clock)
        self._counts = dict.fromkeys(("steps", "bytes", "lost"), 0.0)
        self._reported = dict(self._counts)

    def _make_slots(self) -> list[Slot]:
        slots, before, workers = [], 0, self._settings.workers
        for number in range(workers):
            num_envs = len(range(number, self.num_envs, workers))
            choices = first_choices(num_envs, before, self._parameters.family.num_policies)
            slots.append(Slot(number, num_envs, choices))
            before += num_envs
        return slots

    def collect(self, num_vector_steps: int, *, stop: Callable[[], bool] = never) -> Collected:
        """Collect about that many steps of every environment that has an actor; after a second, return what there is.

        Once `stop` says so, nothing more is requested; rounds that are being played end with `cut_episodes`.
        """
        self._start()
        self._is_cut = False
        end = self._clock() + POLL_SECONDS
        while not stop() and not self._is_enough(num_vector_steps) and (left := end - self._clock()) > 0:
            self._revive()
            self._ask_for_rounds(num_vector_steps)
            self._poll(left)
            self._attendance.update(len(self._playing()), len(self._slots))
        return self._hand_over()

    def load_weights(self, network: dict[str, Tensor], novelty: dict[str, Tensor], version: int) -> None:
        """Put newer weights into the object store, once for all actors, and drop the reference to the older ones."""
        self._start()
        reference, current = self._weights
        if reference is None or version != current:
            self._weights = (self._ray.put(pack_weights(network, novelty)), version)

    def cut_episodes(self) -> Collected:
        """End all rounds and collect them, and end all open episodes as truncations; `restart` must follow."""
        for worker in self._playing():
            worker.num_cuts += 1
            worker.handle.end_rounds.options(concurrency_group=CONTROL).remote(worker.num_cuts)
            self._ask(worker, worker.handle.cut.remote())
        while any(worker.questions for worker in self._playing()):
            self._poll(POLL_SECONDS)
        self._is_cut = True
        return self._hand_over(all_of_it=True)

    def restart(self) -> None:
        """Begin new episodes everywhere."""
        fresh = self._make_slots()
        for slot, empty in zip(self._slots, fresh, strict=True):
            slot.pending = empty.pending
        for slot in self._slots:
            if slot.worker is not None and slot.worker.has_begun:
                self._ask(slot.worker, slot.worker.handle.restart.remote(self._shared(slot, is_fresh=True)))

    def state_dict(self) -> dict[str, Any]:
        """Return the actors' last reports, as JSON types; after `cut_episodes` they are the complete state."""
        return {
            "next_life": self._next_life,
            "is_exact": self._is_cut and all(slot.worker and slot.worker.has_begun for slot in self._slots),
            "lives": [slot.worker.life if slot.worker else None for slot in self._slots],
            "states": [slot.state for slot in self._slots],
            "bandit": None if self._bandit is None else self._bandit.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict()` with new actors: the same lives after a cut, else new lives with the reported state.

        With another number of workers the places differ, and only a shared bandit is restored.
        """
        self._end_workers()
        self._slots, self._next_life = self._make_slots(), int(state["next_life"])
        if self._bandit is not None:
            self._bandit.load_state_dict(state["bandit"])
        if len(state["states"]) == len(self._slots):
            for slot, life, known in zip(self._slots, state["lives"], state["states"], strict=True):
                slot.state, slot.life = known, (int(life) if state["is_exact"] else None)
        self._start()
        self._revive()  # not later: the first frames must be embedded with the present weights

    def metrics(self) -> dict[str, float]:
        """Return actors playing, actors lost so far, bytes received, bytes per step, and seconds without any actor."""
        steps = self._counts["steps"] - self._reported["steps"]
        received = self._counts["bytes"] - self._reported["bytes"]
        self._reported = dict(self._counts)
        row = {
            "actors/playing": float(len(self._playing())),
            "actors/lost": self._counts["lost"],
            "actors/received_bytes": received,
            "actors/waiting_seconds": self._attendance.waited_seconds,
        }
        return row | ({"actors/bytes_per_step": received / steps} if steps else {})

    def close(self) -> None:
        """End the actors, and the cluster if this pool started it."""
        self._end_workers()
        self._weights = (None, 0)
        if self._is_ours:
            self._ray.shutdown()
        self._has_started = self._is_ours = False

    def _start(self) -> None:
        if self._has_started:
            return
        needed = math.ceil(self._settings.workers * self._settings.cpus_per_worker)
        self._is_ours = connect(self._ray, num_cpus=needed, object_store_mb=self._settings.object_store_mb)
        self._has_started = True
        self._attendance.begin()

    def _playing(self) -> list[Worker]:
        return [slot.worker for slot in self._slots if slot.worker is not None and slot.worker.has_begun]

    def _is_enough(self, num_vector_steps: int) -> bool:
        if self._in_lockstep:
            return all(slot.answers for slot in self._slots)
        steps = sum(answer.num_steps for slot in self._slots for answer in slot.answers)
        playing = sum(slot.num_envs for slot in self._slots if slot.worker is not None and slot.worker.has_begun)
        return steps > 0 and steps >= num_vector_steps * playing

    def _hand_over(self, *, all_of_it: bool = False) -> Collected:
        collected = Collected()
        if all_of_it or not self._in_lockstep or self._is_enough(0):
            for slot in self._slots:
                for answer in slot.answers:
                    collected.add(answer)
                slot.answers = []
            collected.lost_actors, self._lost = self._lost, []
        return collected

    def _ask(self, worker: Worker, question: Any) -> None:
        if not worker.questions:
            worker.since = self._clock()
        worker.questions.append(question)

    def _ask_for_rounds(self, num_vector_steps: int) -> None:
        reference, version = self._weights
        for slot in self._slots:
            worker = slot.worker
            while worker is not None and worker.has_begun and len(worker.questions) < self._depth:
                if self._in_lockstep and slot.answers:
                    break
                with_state = self._clock() - slot.state_time > STATE_SECONDS
                if with_state:
                    slot.state_time = self._clock()
                shared = self._shared(slot)
                self._ask(
                    worker, worker.handle.collect.remote(reference, version, num_vector_steps, shared, with_state)
                )

    def _shared(self, slot: Slot, *, is_fresh: bool = False) -> Shared | None:
        """Return the shared bandit's window and the other actors' pending plays; if all begin, only those before."""
        if self._bandit is None:
            return None
        others = [other.pending for other in self._slots[: slot.number if is_fresh else None] if other is not slot]
        totals = [sum(column) for column in zip(*others, strict=True)] or [0] * len(slot.pending)
        return self._bandit.plays, totals

    def _revive(self) -> None:
        now = self._clock()
        for slot in self._slots:
            if slot.worker is None and now >= slot.not_before:
                slot.worker = self._begin(slot)

    def _begin(self, slot: Slot) -> Worker:
        is_exact, life = slot.life is not None, slot.life
        if life is None:
            life, self._next_life = self._next_life, self._next_life + 1
        is_fresh = slot.num_failures == 0
        plan = Plan(slot.number, life, self._shared(slot, is_fresh=is_fresh), slot.state, is_exact)
        handle = (
            self._ray.remote(concurrency_groups={CONTROL: 1})(self._actor_class)
            .options(**placement(self._ray, self._settings, self._suspects.current()))
            .remote()
        )
        worker = Worker(life, handle)
        self._ask(worker, handle.begin.remote(self._parameters, self._env, plan, *self._weights))
        return worker

    def _poll(self, seconds: float) -> None:
        """Wait for the first answer, take in all that are ready, and give up silent actors."""
        now = self._clock()
        if now - self._last_poll > self._settings.timeout_seconds / 2:  # the driver was busy with something else
            self._forgive()
        heads = {slot.worker.questions[0]: slot for slot in self._slots if slot.worker and slot.worker.questions}
        if not heads:
            time.sleep(min(seconds, 0.05))
        else:
            ready, _ = self._ray.wait(list(heads), num_returns=1, timeout=seconds)
            if ready:
                ready, _ = self._ray.wait(list(heads), num_returns=len(heads), timeout=0)
            for reference in ready:
                self._answered(heads[reference], reference)
            del heads
            self._give_up_silent()
        self._last_poll = self._clock()

    def _forgive(self) -> None:
        for slot in self._slots:
            if slot.worker is not None:
                slot.worker.since = self._clock()

    def _answered(self, slot: Slot, reference: Any) -> None:
        worker = slot.worker
        assert worker is not None
        try:
            data = self._ray.get(reference, timeout=self._settings.timeout_seconds)
            collected, facts = unpack_answer(data)
        except self._ray.exceptions.RayTaskError as error:
            self._raise_or_lose(slot, error)
            return
        except (self._ray.exceptions.RayError, ReplayError) as error:
            self._lose(slot, one_line(error))
            return
        worker.questions.popleft()
        worker.since = self._clock()
        self._take(slot, worker, collected, facts)
        self._counts["steps"] += collected.num_steps
        self._counts["bytes"] += len(data)

    def _take(self, slot: Slot, worker: Worker, collected: Collected, facts: dict[str, Any]) -> None:
        if not worker.has_begun:
            worker.has_begun, worker.node = True, facts["node"]
            worker.where = f"{facts['host']} (process {facts['process']})"
            if slot.num_failures:
                logger.info("actor %d plays on %s", worker.life, worker.where)
        else:
            slot.num_failures = 0
        slot.state, slot.pending = facts.get("state", slot.state), facts.get("pending", slot.pending)
        if self._bandit is not None:
            for episode in collected.episodes:
                self._bandit.update(episode.policy, episode.extrinsic_return)
        if collected.num_steps or collected.chunks:
            slot.answers.append(collected)

    def _raise_or_lose(self, slot: Slot, error: Any) -> None:
        """Treat a failure of Ray as a lost actor; raise a failure of our code, which would fail everywhere."""
        cause = getattr(error, "cause", None)
        if isinstance(cause, self._ray.exceptions.RayError):
            self._lose(slot, one_line(cause))
            return
        if isinstance(cause, Meme57Error):
            raise cause
        raise ActorError(f"an actor failed: {one_line(cause or error)}") from error

    def _give_up_silent(self) -> None:
        now = self._clock()
        for slot in self._slots:
            worker = slot.worker
            if worker is None or not worker.questions:
                continue
            limit = self._settings.timeout_seconds if worker.has_begun else self._settings.start_seconds
            if now - worker.since > limit:
                self._suspects.add(worker.node)
                self._lose(slot, f"silent for {now - worker.since:.0f} s")

    def _lose(self, slot: Slot, reason: str) -> None:
        worker = slot.lose(self._clock())
        self._kill(worker)
        if not worker.has_begun:
            logger.warning("actor %d did not start (%s): requesting another one", worker.life, reason)
            return
        groups = num_groups(self._parameters, slot.num_envs)
        self._lost += range(worker.life * groups, (worker.life + 1) * groups)
        self._counts["lost"] += 1
        logger.warning(
            "actor %d on %s is lost (%s): its unfinished episodes are lost, another actor takes its place",
            worker.life, worker.where, reason,
        )  # fmt: skip

    def _kill(self, worker: Worker) -> None:
        try:
            self._ray.kill(worker.handle)
        except Exception as error:  # it may be gone or out of reach; its answers are ignored from here on
            logger.debug("actor %d could not be killed: %s", worker.life, error)

    def _end_workers(self) -> None:
        for slot in self._slots:
            if slot.worker is not None:
                self._kill(slot.worker)
                slot.worker = None
