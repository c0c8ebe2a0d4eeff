"""The pool interface, and the pool that plays in this process."""

from __future__ import annotations

from typing import Any, Protocol

import torch

from meme57.actors.actor import Actor, Collected
from meme57.actors.build import AgentSpec
from meme57.agent.bandit import epsilon_ladder
from meme57.config import Parameters
from meme57.envs import EnvSpec
from meme57.replay.chunks import Chunk


class ActorPool(Protocol):
    """Whatever collects: in this process, or on many machines."""

    num_envs: int

    def collect(self, num_vector_steps: int) -> Collected:
        """Plays about that many steps of every environment and hands over what is finished."""

    def load_weights(self, network: dict[str, torch.Tensor], novelty: dict[str, torch.Tensor], version: int) -> None:
        """Sends newer weights to the actors."""

    def cut_episodes(self) -> list[Chunk]:
        """Ends all open episodes as truncations; `restart` must follow."""

    def restart(self) -> None:
        """Begins new episodes everywhere."""

    def state_dict(self) -> dict[str, Any]:
        """JSON-able."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores `state_dict()` and restarts."""

    def close(self) -> None:
        """Frees environments and workers."""


class LocalPool:
    """One actor with all environments, in the calling thread."""

    def __init__(
        self,
        parameters: Parameters,
        env: EnvSpec,
        spec: AgentSpec,
        *,
        index: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.num_envs = parameters.env.num_envs
        chosen = parameters.actors
        epsilons = epsilon_ladder(self.num_envs, base=chosen.epsilon_base, alpha=chosen.epsilon_alpha)
        self._actor = Actor(parameters, env, spec, epsilons, index=index, device=device)
        self.collect = self._actor.collect
        self.load_weights = self._actor.load_weights
        self.cut_episodes = self._actor.cut_episodes
        self.restart = self._actor.restart
        self.close = self._actor.close

    def state_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"actors": [self._actor.state_dict()]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores `state_dict()` and restarts."""
        self._actor.load_state_dict(state["actors"][0])
