"""Actors on Ray: `ray.workers` of them, on this machine or on a cluster, behind the interface of the local pool.

Each actor plays its share of the environments with a copy of the policy and answers each round with a block of bytes.
The pool keeps at most `ray.rounds_in_flight` requests open at each actor, so that actors wait for a slower learner and
no queue grows. `ray_crew` starts the actors, takes their answers, and replaces those that are lost. Source: [ours].
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from torch import Tensor

from meme57.actors.actor import Collected
from meme57.actors.messages import pack_weights
from meme57.actors.ray_crew import CONTROL, RayCrew
from meme57.actors.ray_slots import Slot, first_choices
from meme57.actors.remote_actor import RemoteActor, Shared
from meme57.blueprint import make_bandits
from meme57.config import Parameters
from meme57.envs import EnvSpec
from meme57.stopping import never

POLL_SECONDS = 1.0
"""Longest time that `collect` waits for an answer: the caller may want to stop."""
STATE_SECONDS = 30.0
"""How often an actor reports its state, for an actor that may have to replace it."""
LIVES = 1_000
"""First life of pool 0, and the distance between two pools' lives: above every actor number of a local pool."""

logger = logging.getLogger(__name__)


class RayPool:
    """See the module. `collect` returns about one round of all environments, from whichever actors were fastest.

    With `learner.mode: synchronous` it returns exactly one round of each actor, in a fixed order, with the newest
    weights. On CPUs that is bit-reproducible as long as no actor is lost.
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
        self._parameters, self._clock = parameters, clock
        self._in_lockstep = parameters.learner.mode == "synchronous"
        self._depth = 1 if self._in_lockstep else parameters.ray.rounds_in_flight
        self.num_envs = parameters.env.num_envs
        first_life = (index + 1) * LIVES
        self.crew = RayCrew(
            parameters, env, self._make_slots(), next_life=first_life, actor_class=actor_class, clock=clock
        )
        is_shared = parameters.bandit.scope == "shared"
        self._bandit = make_bandits(parameters, num_envs=self.num_envs, index=first_life)[0] if is_shared else None
        self._weights: tuple[Any, int] = (None, 0)
        self._is_cut = False
        self._reported = dict(self.crew.counts)

    def _make_slots(self) -> list[Slot]:
        slots, before, workers = [], 0, self._parameters.ray.workers
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
        self.crew.start()
        self._is_cut = False
        end = self._clock() + POLL_SECONDS
        while not stop() and not self._is_enough(num_vector_steps) and (left := end - self._clock()) > 0:
            self.crew.revive(self._weights, self._shared)
            self._ask_for_rounds(num_vector_steps)
            self.crew.poll(left, self._take)
            self.crew.attendance.update(len(self.crew.playing()), len(self.crew.slots))
        return self._hand_over()

    def load_weights(self, network: dict[str, Tensor], novelty: dict[str, Tensor], version: int) -> None:
        """Put newer weights into the object store, once for all actors, and drop the reference to the older ones."""
        self.crew.start()
        reference, current = self._weights
        if reference is None or version != current:
            self._weights = (self.crew.ray.put(pack_weights(network, novelty)), version)

    def begin_with(self, network: dict[str, Tensor], novelty: dict[str, Tensor], version: int) -> None:
        """Load weights; an actor begins its episodes with those that are there when it starts."""
        self.load_weights(network, novelty, version)

    def cut_episodes(self) -> Collected:
        """End all rounds and collect them, and end all open episodes as truncations; `restart` must follow."""
        for worker in self.crew.playing():
            worker.num_cuts += 1
            worker.handle.end_rounds.options(concurrency_group=CONTROL).remote(worker.num_cuts)
            self.crew.ask(worker, worker.handle.cut.remote())
        while any(worker.questions for worker in self.crew.playing()):
            self.crew.poll(POLL_SECONDS, self._take)
        self._is_cut = True
        return self._hand_over(all_of_it=True)

    def restart(self) -> None:
        """Begin new episodes everywhere."""
        fresh = self._make_slots()
        for slot, empty in zip(self.crew.slots, fresh, strict=True):
            slot.pending = empty.pending
        for slot in self.crew.slots:
            if slot.worker is not None and slot.worker.has_begun:
                self.crew.ask(slot.worker, slot.worker.handle.restart.remote(self._shared(slot, is_fresh=True)))

    def state_dict(self) -> dict[str, Any]:
        """Return the actors' last reports, as JSON types; after `cut_episodes` they are the complete state."""
        return {
            "next_life": self.crew.next_life,
            "is_exact": self._is_cut and all(slot.worker and slot.worker.has_begun for slot in self.crew.slots),
            "lives": [slot.worker.life if slot.worker else None for slot in self.crew.slots],
            "states": [slot.state for slot in self.crew.slots],
            "bandit": None if self._bandit is None else self._bandit.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore `state_dict()` for new actors: the same lives after a cut, else new lives with the reported state.

        With another number of workers the places differ, and only a shared bandit is restored.
        """
        self.crew.dismiss(self._make_slots())
        self.crew.next_life = int(state["next_life"])
        if self._bandit is not None:
            self._bandit.load_state_dict(state["bandit"])
        if len(state["states"]) != len(self.crew.slots):
            logger.warning(
                "the checkpoint has the bandits of %d actors, and ray.workers is %d now: they begin anew",
                len(state["states"]), len(self.crew.slots),
            )  # fmt: skip
        else:
            for slot, life, known in zip(self.crew.slots, state["lives"], state["states"], strict=True):
                slot.state, slot.life = known, (int(life) if state["is_exact"] else None)

    def resume(self) -> None:
        """Start the restored actors now: their first frames must be embedded with the present weights."""
        self.crew.start()
        self.crew.revive(self._weights, self._shared)

    def metrics(self) -> dict[str, float]:
        """Return actors playing, actors lost so far, bytes received, bytes per step, and seconds without any actor."""
        steps = self.crew.counts["steps"] - self._reported["steps"]
        received = self.crew.counts["bytes"] - self._reported["bytes"]
        self._reported = dict(self.crew.counts)
        row = {
            "actors/playing": float(len(self.crew.playing())),
            "actors/lost": self.crew.counts["lost"],
            "actors/received_bytes": received,
            "actors/waiting_seconds": self.crew.attendance.waited_seconds,
        }
        return row | ({"actors/bytes_per_step": received / steps} if steps else {})

    def close(self) -> None:
        """End the actors, and the cluster if this pool started it."""
        self._weights = (None, 0)
        self.crew.close()

    def _is_enough(self, num_vector_steps: int) -> bool:
        if self._in_lockstep:
            return all(slot.answers for slot in self.crew.slots)
        steps = sum(answer.num_steps for slot in self.crew.slots for answer in slot.answers)
        playing = sum(slot.num_envs for slot in self.crew.slots if slot.worker is not None and slot.worker.has_begun)
        return steps > 0 and steps >= num_vector_steps * playing

    def _hand_over(self, *, all_of_it: bool = False) -> Collected:
        collected = Collected()
        if all_of_it or not self._in_lockstep or self._is_enough(0):
            for slot in self.crew.slots:
                for answer in slot.answers:
                    collected.add(answer)
                    if self._in_lockstep:  # in this order, whoever answered first
                        self._tell_bandit(answer)
                slot.answers = []
            collected.lost_actors, self.crew.lost = self.crew.lost, []
        return collected

    def _ask_for_rounds(self, num_vector_steps: int) -> None:
        reference, version = self._weights
        if self._in_lockstep and len(self.crew.playing()) < len(self.crew.slots):
            return  # all are asked at once, so that all know the same of a shared bandit
        for slot in self.crew.slots:
            worker = slot.worker
            while worker is not None and worker.has_begun and len(worker.questions) < self._depth:
                if self._in_lockstep and slot.answers:
                    break
                with_state = self._clock() - slot.state_time > STATE_SECONDS
                if with_state:
                    slot.state_time = self._clock()
                shared = self._shared(slot)
                self.crew.ask(
                    worker, worker.handle.collect.remote(reference, version, num_vector_steps, shared, with_state)
                )

    def _take(self, slot: Slot, collected: Collected) -> None:
        if not self._in_lockstep:
            self._tell_bandit(collected)
        if collected.num_steps or collected.chunks:
            slot.answers.append(collected)

    def _tell_bandit(self, collected: Collected) -> None:
        if self._bandit is not None:
            for episode in collected.episodes:
                self._bandit.update(episode.policy, episode.extrinsic_return)

    def _shared(self, slot: Slot, is_fresh: bool = False) -> Shared | None:
        """Return the shared bandit's window and the other actors' pending plays; if all begin, only those before."""
        if self._bandit is None:
            return None
        others = [other.pending for other in self.crew.slots[: slot.number if is_fresh else None] if other is not slot]
        totals = [sum(column) for column in zip(*others, strict=True)] or [0] * len(slot.pending)
        return self._bandit.plays, totals
