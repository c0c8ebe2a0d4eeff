"""Playing a policy: network, novelty and recurrent state of E environments; acting and evaluation share it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from meme57.actors.episode_embedding import EpisodeEmbedding
from meme57.agent.inputs import INPUTS, Inputs, left_behind
from meme57.agent.network import Features, MemeNetwork
from meme57.agent.novelty import EpisodicMemory, NoveltyNetworks, NoveltyReward
from meme57.agent.transfer import download, upload
from meme57.envs import StepResult
from meme57.replay.chunks import StepInputs


class Player:
    """Keeps the network's inputs and state from step to step, and resets them where an episode begins."""

    def __init__(
        self,
        network: MemeNetwork,
        novelty: NoveltyNetworks | None,
        *,
        num_envs: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self._network, self._novelty = network, novelty
        self._device = torch.device(device)
        self._num_envs = num_envs
        self._fresh = self._fresh_inputs()
        self._fresh_features = as_features(self._fresh, self._device)
        self._moments: tuple[Tensor, Tensor] | None = None
        self._moments_of = 0
        self._embedding = None if novelty is None else EpisodeEmbedding(novelty, num_envs)
        self.memory = None if novelty is None else EpisodicMemory(novelty.spec, num_envs, device=self._device)

    def begin(self, observation: npt.NDArray[np.uint8]) -> None:
        """Begin an episode in all environments at `observation` [E, H, W]."""
        self.observation, self.inputs, self._features = observation, self._fresh, self._fresh_features
        self.state = torch.zeros(2, self._num_envs, self._network.spec.lstm_size, device=self._device)
        (self._frames,) = upload([observation], self._device)
        self._reward_novelty(np.ones(self._num_envs, np.bool_))

    def preferences(self, policies: npt.NDArray[np.int64]) -> Tensor:
        """Return preferences [E, A] of the policies [E] for the current observation, and advance the state."""
        (which,) = upload([policies], self._device)
        core, self.state = self._network.step(self._frames, self._features, self.state)
        preferences = self._network.preferences(core, which)
        self._seen = core, preferences, which
        return preferences

    def predicted_returns(self) -> Tensor:
        """Predict the discounted extrinsic return [E] from the observation that `preferences` has just read.

        It is the value of the action that the policy prefers, untransformed.
        """
        return self._network.predicted_returns(*self._seen)

    def observe(self, actions: npt.NDArray[np.int64], result: StepResult) -> StepInputs:
        """Take in the result of the actions [E]; return the record of the step [E], to be stored."""
        actions = actions.astype(np.int64)
        action, reward, self._frames, is_reset = upload(
            [actions, result.reward, result.observation, result.is_reset], self._device
        )
        novelty = self._reward_novelty(result.is_reset)
        *rewards, embedding = download(novelty)
        outcome: StepInputs = left_behind(actions, result.reward, [*rewards, embedding.astype(np.float16)])
        self.observation, self.inputs = result.observation, outcome
        self._features = left_behind(action, reward, novelty)
        if result.is_reset.any():
            self.state = self.state.masked_fill(is_reset.unsqueeze(-1), 0.0)
            self.inputs = _where(np.where, result.is_reset, self._fresh, outcome)
            self._features = _where(torch.where, is_reset, self._fresh_features, self._features)
        return outcome

    def _reward_novelty(self, is_first: npt.NDArray[np.bool_]) -> NoveltyReward:
        if self._novelty is None or self._embedding is None or self.memory is None:
            return NoveltyReward(*self._fresh_features[2:])
        embedding = self._embedding.embed(self._frames, is_first)
        if self._moments is None or self._moments_of != self._novelty.num_loads:
            self._moments_of, self._moments = self._novelty.num_loads, self._novelty.error_moments()
        lifelong = self._novelty.lifelong(self._novelty.rnd_error(self._frames), self._moments)
        if is_first.any():
            self.memory.reset(torch.from_numpy(is_first))
        episodic = self.memory.reward(embedding)
        if self._novelty.spec.renew_embedding:
            embedding = self._novelty.act_embed(self._frames)
        return NoveltyReward(episodic * lifelong, lifelong, episodic, embedding)

    def _fresh_inputs(self) -> StepInputs:
        spec = self._network.spec
        return empty_inputs((self._num_envs,), spec.embedding_size, action=spec.num_actions)


def empty_inputs(shape: tuple[int, ...], embedding_size: int, *, action: int = 0) -> StepInputs:
    """Make zero inputs, all with the given action."""
    inputs = StepInputs(*(np.zeros(kind.shape(shape, embedding_size), kind.dtype) for kind in INPUTS.values()))
    inputs.action.fill(action)
    return inputs


def as_features(inputs: StepInputs, device: torch.device) -> Features:
    """Move the non-image inputs to `device` as tensors."""
    return Features(*(torch.from_numpy(value).to(device) for value in inputs))


def _where(choose: Callable[..., Any], which: Any, first: Inputs[Any], second: Inputs[Any]) -> Inputs[Any]:
    """Return `first` where `which` [E] is True, else `second`; `choose` is `where` of NumPy or of PyTorch."""

    def mix(one: Any, two: Any) -> Any:
        return choose(which.reshape(-1, *([1] * (two.ndim - 1))), one, two)

    mixed: Inputs[Any] = Inputs(*map(mix, first, second))
    return mixed
