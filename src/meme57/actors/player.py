"""Playing a policy: network, novelty and recurrent state of E environments; acting and evaluation share it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from meme57.actors.episode_embedding import EpisodeEmbedding
from meme57.agent.inputs import INPUTS, left_behind
from meme57.agent.network import Features, MemeNetwork
from meme57.agent.novelty import EpisodicMemory, NoveltyNetworks, NoveltyReward
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
        self._embedding = None if novelty is None else EpisodeEmbedding(novelty, num_envs)
        self.memory = None if novelty is None else EpisodicMemory(novelty.spec, num_envs, device=self._device)

    def begin(self, observation: npt.NDArray[np.uint8]) -> None:
        """Begin an episode in all environments at `observation` [E, H, W]."""
        self.observation = observation
        self.inputs = self._fresh_inputs()
        self.state = torch.zeros(2, self._num_envs, self._network.spec.lstm_size, device=self._device)
        self._reward_novelty(observation, np.ones(self._num_envs, np.bool_))

    def preferences(self, policies: npt.NDArray[np.int64]) -> Tensor:
        """Return preferences [E, A] of the policies [E] for the current observation, and advance the state."""
        preferences, self.state = self._network.act(
            torch.from_numpy(self.observation).to(self._device),
            as_features(self.inputs, self._device),
            self.state,
            torch.from_numpy(policies).to(self._device),
        )
        return preferences

    def predicted_returns(
        self, which: npt.NDArray[np.bool_], policies: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        """Predict the discounted extrinsic return [K] of these environments [K of E] under their policies [K].

        It is the value of the action that the policy prefers, untransformed. The state does not advance.
        """
        rows = torch.from_numpy(which).to(self._device)
        predicted = self._network.predicted_returns(
            torch.from_numpy(self.observation[which]).to(self._device),
            Features(*(feature[rows] for feature in as_features(self.inputs, self._device))),
            self.state[:, rows],
            torch.from_numpy(policies).to(self._device),
        )
        values: npt.NDArray[np.float32] = predicted.cpu().numpy()
        return values

    def observe(self, actions: npt.NDArray[np.int64], result: StepResult) -> StepInputs:
        """Take in the result of the actions [E]; return the record of the step [E], to be stored."""
        novelty = self._reward_novelty(result.observation, result.is_reset)
        outcome = _outcome(actions, result.reward, novelty)
        self.observation, self.inputs = result.observation, outcome
        if result.is_reset.any():
            self.state[:, torch.from_numpy(result.is_reset)] = 0.0
            self.inputs = _where(result.is_reset, self._fresh_inputs(), outcome)
        return outcome

    def _reward_novelty(self, observation: npt.NDArray[np.uint8], is_first: npt.NDArray[np.bool_]) -> NoveltyReward:
        if self._novelty is None or self._embedding is None or self.memory is None:
            zeros = torch.zeros(self._num_envs)
            return NoveltyReward(zeros, zeros, zeros, torch.zeros(self._num_envs, self._network.spec.embedding_size))
        frames = torch.from_numpy(observation).to(self._device)
        embedding = self._embedding.embed(frames, is_first)
        lifelong = self._novelty.lifelong(self._novelty.rnd_error(frames))
        if is_first.any():
            self.memory.reset(torch.from_numpy(is_first))
        episodic = self.memory.reward(embedding)
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


def _outcome(actions: npt.NDArray[np.int64], reward: npt.NDArray[np.float32], novelty: NoveltyReward) -> StepInputs:
    *rewards, embedding = (part.cpu().numpy() for part in novelty)
    return left_behind(actions.astype(np.int64), reward, [*rewards, embedding.astype(np.float16)])


def _where(which: npt.NDArray[np.bool_], first: StepInputs, second: StepInputs) -> StepInputs:
    """Return `first` where `which` [E] is True, else `second`."""

    def mix(one: npt.NDArray[Any], two: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.where(which.reshape(-1, *([1] * (two.ndim - 1))), one, two)

    return StepInputs(*map(mix, first, second))
