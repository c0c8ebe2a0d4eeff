"""A Ray actor: a local pool in a process of its own. Apart from asking where it runs, this code does not use Ray."""

from __future__ import annotations

import functools
import hashlib
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import meme57
from meme57.actors.actor import Collected
from meme57.actors.exploration import exploration_rates
from meme57.actors.local_pool import LocalPool
from meme57.actors.messages import pack_answer, unpack_weights
from meme57.blueprint import agent_spec, make_bandits
from meme57.config import Parameters
from meme57.envs import EnvSpec
from meme57.errors import ActorError

Shared = tuple[Sequence[tuple[int, float]], Sequence[int]]
"""The shared bandit's window, and the plays of each arm that the other actors have selected and not finished."""


@dataclass(frozen=True)
class Plan:
    """The identity and the initial state of a new actor."""

    slot: int
    """Its place among `ray.workers`: it plays environments slot, slot + workers, ... with their exploration rates."""
    life: int
    """A number that no other actor has: its seeds and the identity of its chunks come from it."""
    shared: Shared | None = None
    state: dict[str, Any] | None = None
    """The state of the previous actor in this place: its bandits."""
    is_exact: bool = False
    """Whether it continues exactly as the previous actor would have, with the same seeds (`run.exact_resume`)."""
    code: str | None = None
    """The driver's `code_digest`; None: whatever is installed there will do."""


class RemoteActor:
    """Plays one share of the environments; every answer is a block of `pack_answer`."""

    _num_cuts = _cuts_announced = 0
    _version: int | None = None
    """Of the weights that were loaded last; None: the actor's own play."""

    def begin(
        self, parameters: Parameters, env: EnvSpec, plan: Plan, weights: bytes | None = None, version: int = 0
    ) -> bytes:
        """Make environments and networks, begin to play, and return where it runs.

        Raises:
            ActorError: this machine has other code than the driver.
        """
        if plan.code not in (None, code_digest()):
            raise ActorError(
                f"{socket.gethostname()} has another meme57 than the driver (there it is {meme57.__version__}): "
                "install the same version on every machine"
            )
        num_threads = max(1, int(parameters.ray.cpus_per_worker))
        torch.set_num_threads(num_threads)
        if not parameters.env.num_threads:  # one for each core of a machine, which is not this actor's alone
            env_group = parameters.env.model_copy(update={"num_threads": num_threads})
            parameters = parameters.model_copy(update={"env": env_group})
        epsilons = exploration_rates(parameters)[plan.slot :: parameters.ray.workers]
        self._bandits = None
        if plan.shared is not None:
            self._bandits = make_bandits(parameters, num_envs=len(epsilons), index=plan.life)
            self._bandits[0].share(*plan.shared)
        self._pool = LocalPool(
            parameters, env, agent_spec(parameters, env), index=plan.life, epsilons=epsilons, bandits=self._bandits,
            device="cuda" if parameters.ray.gpus_per_worker and torch.cuda.is_available() else "cpu",
        )  # fmt: skip
        self._load(weights, version)
        if plan.state is not None:
            self._pool.restore(plan.state if plan.is_exact else _inherit(plan.state, self._pool.state_dict()))
        if plan.state is not None or self._version is not None:
            if plan.state is None:
                self._pool.cut_episodes()  # without a step; the bandits take back what they chose
            # Episodes begin again, since these weights must embed the first frame.
            self.restart(plan.shared)
        return self._answer(Collected(), {"node": _node_id(), "host": socket.gethostname(), "process": os.getpid()})

    def collect(
        self, weights: bytes | None, version: int, num_vector_steps: int, shared: Shared | None, with_state: bool
    ) -> bytes:
        """Play a round with these weights."""
        self._load(weights, version)
        self._share(shared)
        collected = self._pool.collect(num_vector_steps, stop=lambda: self._cuts_announced > self._num_cuts)
        return self._answer(collected, {"state": self._pool.state_dict()} if with_state else {})

    def end_rounds(self, num_cuts: int) -> None:
        """End the rounds before the cut of that number, from another thread; a late message ends none."""
        self._cuts_announced = num_cuts

    def cut(self) -> bytes:
        """End all open episodes as truncations; `restart` must follow."""
        self._num_cuts += 1
        return self._answer(self._pool.cut_episodes(), {"state": self._pool.state_dict()})

    def restart(self, shared: Shared | None) -> bytes:
        """Begin new episodes everywhere."""
        self._share(shared)
        self._pool.restart()
        return self._answer(Collected(), {})

    def _load(self, weights: bytes | None, version: int) -> None:
        if weights is not None and version != self._version:
            self._pool.load_weights(*unpack_weights(weights), version)
            self._version = version

    def _share(self, shared: Shared | None) -> None:
        if shared is not None and self._bandits is not None:
            self._bandits[0].share(*shared)

    def _answer(self, collected: Collected, facts: dict[str, Any]) -> bytes:
        if self._bandits is not None:
            facts["pending"] = self._bandits[0].pending
        return pack_answer(collected, facts)


@functools.cache
def code_digest() -> str:
    """Return a digest of this package's code as it is installed here."""
    digest, root = hashlib.sha256(), Path(meme57.__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _inherit(saved: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Take bandits and distance statistics from `saved`; seeds, episode numbers and random streams from `own`."""
    kept = ("generation", "next_episode", "random")
    return {
        "actors": [
            {**before, **{name: now[name] for name in kept}}
            for before, now in zip(saved["actors"], own["actors"], strict=True)
        ]
    }


def _node_id() -> str:
    """Return Ray's name of this machine, or an empty string if Ray does not run this."""
    ray = sys.modules.get("ray")
    return "" if ray is None else str(ray.get_runtime_context().get_node_id())
