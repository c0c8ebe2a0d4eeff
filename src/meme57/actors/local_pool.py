"""The pool interface, and the pool that plays in this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from meme57.actors.actor import Actor, Collected, collect_in_turn
from meme57.actors.exploration import exploration_rates
from meme57.agent.bandit import SlidingWindowUCB
from meme57.blueprint import AgentSpec, make_bandits, make_networks
from meme57.config import Parameters
from meme57.envs import EnvSpec
from meme57.stopping import never


class ActorPool(Protocol):
    """The interface of all pools, in this process or on many machines."""

    num_envs: int

    def collect(self, num_vector_steps: int, *, stop: Callable[[], bool] = never) -> Collected:
        """Play about that many steps of every environment, fewer if `stop` says so; return what is finished."""

    def load_weights(self, network: dict[str, torch.Tensor], novelty: dict[str, torch.Tensor], version: int) -> None:
        """Send newer weights to the actors."""

    def begin_with(self, network: dict[str, torch.Tensor], novelty: dict[str, torch.Tensor], version: int) -> None:
        """Load the weights with which the first episodes begin; nothing was played before."""

    def cut_episodes(self) -> Collected:
        """End all open episodes as truncations and return their chunks; `restart` must follow."""

    def restart(self) -> None:
        """Begin new episodes everywhere."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state as JSON types."""

    def restore(self, state: dict[str, Any]) -> None:
        """Restore `state_dict()`; `resume` must follow."""

    def resume(self) -> None:
        """Begin to play from the restored state."""

    def metrics(self) -> dict[str, float]:
        """Return the actors' metrics for a log row, since the last call."""

    def close(self) -> None:
        """Close environments and end workers."""


class LocalPool:
    """`actors.groups` groups of environments in the calling thread: while one's emulators run, the next one acts.

    All groups share the networks and, with `bandit.scope: shared`, the bandit. By default the pool plays all of
    `env.num_envs`; with `epsilons`, as many environments as there are rates.
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
        """Play that many steps of every environment, fewer if `stop` says so."""
        return collect_in_turn(self._actors, num_vector_steps, stop)

    def load_weights(self, network: dict[str, torch.Tensor], novelty: dict[str, torch.Tensor], version: int) -> None:
        """Load newer weights, once for all groups."""
        self._actors[0].load_weights(network, novelty, version)
        for actor in self._actors:
            actor.version = version

    def begin_with(self, network: dict[str, torch.Tensor], novelty: dict[str, torch.Tensor], version: int) -> None:
        """Load weights and begin the episodes again: an episode keeps the embedding network that it began with."""
        self.load_weights(network, novelty, version)
        self.cut_episodes()  # without a step; the bandits take back what they chose
        self.restart()

    def cut_episodes(self) -> Collected:
        """End all open episodes as truncations; `restart` must follow."""
        return Collected(chunks=[chunk for actor in self._actors for chunk in actor.cut_episodes()])

    def restart(self) -> None:
        """Begin new episodes everywhere."""
        for actor in self._actors:
            actor.restart()

    def close(self) -> None:
        """Close the environments."""
        for actor in self._actors:
            actor.close()

    def state_dict(self) -> dict[str, Any]:
        """Return the state as JSON types."""
        return {"actors": [actor.state_dict() for actor in self._actors]}

    def metrics(self) -> dict[str, float]:
        """Return nothing: the trainer knows everything about a local pool."""
        return {}

    def resume(self) -> None:
        """Begin new episodes everywhere."""
        self.restart()

    def restore(self, state: dict[str, Any]) -> None:
        """Restore `state_dict()`; `resume` must follow, once each actor has cleared the shared bandit's selections."""
        for actor, saved in zip(self._actors, state["actors"], strict=True):
            actor.restore(saved)


def num_groups(parameters: Parameters, num_envs: int) -> int:
    """Return the number of groups G of a pool of that many environments; actor numbers of pool k begin at k G."""
    return min(parameters.actors.groups, num_envs)
