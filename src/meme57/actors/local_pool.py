"""The pool interface, and the pool that plays in this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from meme57.actors.actor import Actor, Collected, collect_in_turn
from meme57.agent.bandit import SlidingWindowUCB, epsilon_ladder
from meme57.blueprint import AgentSpec, make_bandits, make_networks
from meme57.config import Parameters
from meme57.envs import EnvSpec
from meme57.stopping import never


class ActorPool(Protocol):
    """Whatever collects: in this process, or on many machines."""

    num_envs: int

    def collect(self, num_vector_steps: int, *, stop: Callable[[], bool] = never) -> Collected:
        """Plays about that many steps of every environment, fewer once `stop` says so; hands over what is finished."""

    def load_weights(self, network: dict[str, torch.Tensor], novelty: dict[str, torch.Tensor], version: int) -> None:
        """Sends newer weights to the actors."""

    def cut_episodes(self) -> Collected:
        """Ends all open episodes as truncations and hands over what was still under way; `restart` must follow."""

    def restart(self) -> None:
        """Begins new episodes everywhere."""

    def state_dict(self) -> dict[str, Any]:
        """JSON-able."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores `state_dict()` and restarts."""

    def metrics(self) -> dict[str, float]:
        """What a log row tells about the actors, since the last call."""

    def close(self) -> None:
        """Frees environments and workers."""


class LocalPool:
    """`actors.groups` groups of environments in the calling thread: while the emulators of one step, the next one acts.

    All groups share the networks and, with `bandit.scope: shared`, the bandit. By default it plays all of
    `env.num_envs`; with `epsilons` as many environments as there are rates.
    """

    def __init__(
        self,
        parameters: Parameters,
        env: EnvSpec,
        spec: AgentSpec,
        *,
        index: int = 0,
        device: torch.device | str = "cpu",
        epsilons: npt.NDArray[np.float64] | None = None,
        bandits: list[SlidingWindowUCB] | None = None,
    ) -> None:
        if epsilons is None:
            epsilons = exploration_rates(parameters)
        self.num_envs = len(epsilons)
        count = num_groups(parameters, self.num_envs)
        networks = make_networks(spec, seed=parameters.run.seed)
        if bandits is None and parameters.bandit.scope == "shared":
            bandits = make_bandits(parameters, num_envs=self.num_envs, index=index)
        self._actors = [
            Actor(
                parameters, env, spec, epsilons[group::count], index=index * count + group,
                networks=networks, bandits=bandits, device=device,
            )
            for group in range(count)
        ]  # fmt: skip

    def collect(self, num_vector_steps: int, *, stop: Callable[[], bool] = never) -> Collected:
        """Plays that many steps of every environment, fewer once `stop` says so."""
        return collect_in_turn(self._actors, num_vector_steps, stop)

    def load_weights(self, network: dict[str, torch.Tensor], novelty: dict[str, torch.Tensor], version: int) -> None:
        """Takes newer weights, once for all groups."""
        self._actors[0].load_weights(network, novelty, version)
        for actor in self._actors:
            actor.version = version

    def cut_episodes(self) -> Collected:
        """Ends all open episodes as truncations; `restart` must follow."""
        return Collected(chunks=[chunk for actor in self._actors for chunk in actor.cut_episodes()])

    def restart(self) -> None:
        """Begins new episodes everywhere."""
        for actor in self._actors:
            actor.restart()

    def close(self) -> None:
        """Frees the environments."""
        for actor in self._actors:
            actor.close()

    def state_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"actors": [actor.state_dict() for actor in self._actors]}

    def metrics(self) -> dict[str, float]:
        """Nothing that the trainer does not know."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores `state_dict()` and restarts."""
        self.restore(state)
        self.restart()  # only now: a shared bandit is restored once more by every actor, and forgets what it chose

    def restore(self, state: dict[str, Any]) -> None:
        """Restores `state_dict()`; `restart` must follow."""
        for actor, saved in zip(self._actors, state["actors"], strict=True):
            actor.restore(saved)


def exploration_rates(parameters: Parameters) -> npt.NDArray[np.float64]:
    """The rates of all `env.num_envs` environments."""
    chosen = parameters.actors
    return epsilon_ladder(parameters.env.num_envs, base=chosen.epsilon_base, alpha=chosen.epsilon_alpha)


def num_groups(parameters: Parameters, num_envs: int) -> int:
    """Groups of a pool of that many environments; actor numbers of pool `index` are `index` times this and above."""
    return min(parameters.actors.groups, num_envs)
