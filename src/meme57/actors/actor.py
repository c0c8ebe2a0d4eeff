"""The actor loop: E environments, one batched network step, no Python loop over environments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from meme57.actors.exploration import KeptNoise, draw, explore, softmax
from meme57.actors.player import Player
from meme57.actors.recorder import ChunkRecorder
from meme57.agent.bandit import SlidingWindowUCB
from meme57.agent.network import MemeNetwork
from meme57.agent.novelty import NoveltyNetworks
from meme57.agent.transfer import download
from meme57.blueprint import SEED_STRIDE, AgentSpec, make_bandits, make_networks
from meme57.config import Parameters
from meme57.envs import EnvSpec, make_env
from meme57.replay.chunks import Chunk, StepInputs
from meme57.seeds import TRAINING_SEEDS
from meme57.stopping import never


class EpisodeResult(NamedTuple):
    """One finished episode."""

    policy: int
    extrinsic_return: float
    num_steps: int
    discounted_return: float
    """Extrinsic, from the first step on, at the policy's own discount."""
    predicted_return: float
    """The network's prediction of `discounted_return` at the first step."""
    epsilon: float
    """Exploration rate of the environment that played it."""


@dataclass
class Collected:
    """Finished chunks and episodes of one or more actors."""

    chunks: list[Chunk] = field(default_factory=list)
    episodes: list[EpisodeResult] = field(default_factory=list)
    num_steps: int = 0
    lost_actors: list[int] = field(default_factory=list)
    """Actors that died or stopped answering: their unfinished episodes will never be completed."""

    def add(self, other: Collected) -> None:
        """Append the results of another call."""
        self.chunks += other.chunks
        self.episodes += other.episodes
        self.num_steps += other.num_steps
        self.lost_actors += other.lost_actors


class Actor:
    """Plays E environments with its own copy of the networks, a bandit and an exploration rate for each."""

    def __init__(
        self,
        parameters: Parameters,
        env: EnvSpec,
        spec: AgentSpec,
        epsilons: npt.NDArray[np.float64],
        *,
        index: int = 0,
        networks: tuple[MemeNetwork, NoveltyNetworks] | None = None,
        bandits: list[SlidingWindowUCB] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self._parameters, self._spec, self._index = parameters, spec, index
        self._device = torch.device(device)
        self._num_envs = len(epsilons)
        self._epsilons = epsilons
        self._gammas = spec.family.gammas.numpy()
        self._env = make_env(env, num_envs=self._num_envs, num_threads=parameters.env.num_threads)
        network, novelty = networks or make_networks(spec, seed=parameters.run.seed)
        self._network, self._novelty = network.to(self._device).eval(), novelty.to(self._device).eval()
        self._player = Player(
            self._network,
            self._novelty if parameters.novelty.enabled else None,
            num_envs=self._num_envs,
            device=self._device,
        )
        self._bandits = bandits or make_bandits(parameters, num_envs=self._num_envs, index=index)
        self._rng = np.random.default_rng([parameters.run.seed, 1, index])
        self._noise = KeptNoise(
            (self._num_envs, spec.network.num_actions), steps=parameters.actors.noise_steps, rng=self._rng
        )
        self._recorder = ChunkRecorder(
            actor=index,
            num_envs=self._num_envs,
            period=parameters.replay.period,
            frame_shape=env.frame_shape,
            frame_dtype=env.frame_dtype,
            lstm_size=spec.network.lstm_size,
            embedding_size=spec.network.embedding_size,
        )
        self.version = 0
        self._next_episode = 0
        self._generation = 0
        self._begin()

    def load_weights(self, network: dict[str, torch.Tensor], novelty: dict[str, torch.Tensor], version: int) -> None:
        """Load newer weights; `version` is the number of updates that led to them."""
        self._network.load_state_dict(network)
        self._novelty.load_state_dict(novelty)
        self.version = version

    def collect(self, num_vector_steps: int, *, stop: Callable[[], bool] = never) -> Collected:
        """Play that many vector steps; return finished chunks and episodes, and keep unfinished ones open."""
        return collect_in_turn([self], num_vector_steps, stop)

    def cut_episodes(self) -> list[Chunk]:
        """End every open episode as a truncation and return the open chunks; `restart` must follow.

        The returns of these episodes are not reported, since the episodes are incomplete.
        """
        chunks = self._recorder.finish(self._false(), np.ones(self._num_envs, np.bool_), self._policies)
        for bandit in self._bandits:
            bandit.forget_pending()
        return chunks

    def restart(self) -> None:
        """Begin new episodes everywhere, from seeds that were never used before."""
        self._generation += 1
        self._begin()

    def close(self) -> None:
        """Close the environments."""
        self._env.close()

    def _begin(self) -> None:
        run = self._parameters.run
        seed = (run.seed * SEED_STRIDE + self._index * 1_009 + self._generation * 100_000_007) % TRAINING_SEEDS
        self._policies = np.zeros(self._num_envs, np.int64)
        self._returns = np.zeros(self._num_envs)
        self._lengths = np.zeros(self._num_envs, np.int64)
        self._discounted_returns = np.zeros(self._num_envs)
        self._predicted_returns = np.zeros(self._num_envs)
        everywhere = np.ones(self._num_envs, np.bool_)
        if self._parameters.actors.temperature:
            self._noise.renew(everywhere)
        self._begin_episodes(everywhere)
        with torch.inference_mode():
            self._player.begin(self._env.reset(seed=seed))

    def _begin_episodes(self, which: npt.NDArray[np.bool_]) -> None:
        self._number_episodes(which)
        for env in np.flatnonzero(which).tolist():
            self._policies[env] = self._choose_policy(env)
        for totals in (self._returns, self._lengths, self._discounted_returns):
            totals[which] = 0

    def _number_episodes(self, which: npt.NDArray[np.bool_]) -> None:
        """Give what is recorded from here on new numbers of episodes, so that no sequence reaches across."""
        count = int(which.sum())
        episodes = np.zeros(self._num_envs, np.int64)
        episodes[which] = self._next_episode + np.arange(count)
        self._next_episode += count
        self._recorder.begin_episodes(which, episodes)

    def send(self) -> None:
        """Choose actions and send them; the emulators run until `receive`."""
        player, first, state = self._player, self._lengths == 0, self._player.state
        preferences, temperature = player.preferences(self._policies), self._parameters.actors.temperature
        wanted = [preferences if temperature else preferences.argmax(-1)]
        if first.any():
            wanted.append(player.predicted_returns())
        if self._recorder.opens_chunks:
            wanted.append(state)
        preferred, *others = download(wanted)
        if self._recorder.opens_chunks:
            self._recorder.before_step(player.observation, player.inputs, others.pop(), self.version)
        if first.any():
            self._predicted_returns[first] = others.pop()[first]
        policy = None
        if temperature:
            policy = softmax(preferred, temperature)
            preferred = draw(preferred, temperature, self._noise.next(policy))
        self._sent = explore(preferred, self._epsilons, self._spec.network.num_actions, self._rng, policy=policy)
        self._env.send(self._sent[0])

    def receive(self, collected: Collected) -> None:
        """Record the result of the actions sent; add finished chunks and episodes to `collected`."""
        actions, mu = self._sent
        result = self._env.receive()
        outcome = self._player.observe(actions, result)
        stepped = ~result.is_reset
        self._recorder.after_step(stepped, result.observation, outcome, mu)
        collected.num_steps += int(stepped.sum())
        self._count(stepped, outcome)
        terminal = result.terminated
        if self._parameters.actors.terminal_on_life_loss:
            terminal = terminal | result.life_lost
        collected.chunks += self._recorder.finish(terminal, result.truncated, self._policies)
        if (new_life := terminal & ~result.terminated).any():
            self._number_episodes(new_life)
        self._end_episodes(result.terminated | result.truncated, collected)
        if result.is_reset.any():
            self._begin_episodes(result.is_reset)

    def _count(self, stepped: npt.NDArray[np.bool_], outcome: StepInputs) -> None:
        self._returns += outcome.reward
        self._discounted_returns += self._gammas[self._policies] ** self._lengths * outcome.reward
        self._lengths += stepped

    def _end_episodes(self, ended: npt.NDArray[np.bool_], collected: Collected) -> None:
        for env in np.flatnonzero(ended).tolist():
            policy = int(self._policies[env])
            self._bandit(env).update(policy, float(self._returns[env]))
            collected.episodes.append(
                EpisodeResult(
                    policy=policy,
                    extrinsic_return=float(self._returns[env]),
                    num_steps=int(self._lengths[env]),
                    discounted_return=float(self._discounted_returns[env]),
                    predicted_return=float(self._predicted_returns[env]),
                    epsilon=float(self._epsilons[env]),
                )
            )

    def _choose_policy(self, env: int) -> int:
        if not self._parameters.bandit.enabled:
            return int(self._rng.integers(self._spec.family.num_policies))
        return self._bandit(env).select()

    def _bandit(self, env: int) -> SlidingWindowUCB:
        return self._bandits[env % len(self._bandits)]

    def _false(self) -> npt.NDArray[np.bool_]:
        return np.zeros(self._num_envs, np.bool_)

    def state_dict(self) -> dict[str, Any]:
        """Return the state as JSON types, without open episodes (the emulator cannot save its state)."""
        return {
            "generation": self._generation,
            "next_episode": self._next_episode,
            "random": self._rng.bit_generator.state,
            "bandits": [bandit.state_dict() for bandit in self._bandits],
            "memory": None if self._player.memory is None else self._player.memory.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict()` and begin new episodes from seeds that were never used before."""
        self.restore(state)
        self.restart()

    def restore(self, state: dict[str, Any]) -> None:
        """Restore `state_dict()`; `restart` must follow."""
        self._generation = state["generation"]
        self._next_episode = state["next_episode"]
        self._rng.bit_generator.state = state["random"]
        if self._player.memory is not None:
            self._player.memory.load_state_dict(state["memory"])
        for bandit, saved in zip(self._bandits, state["bandits"], strict=True):
            bandit.load_state_dict(saved)
            bandit.forget_pending()


@torch.inference_mode()
def collect_in_turn(actors: Sequence[Actor], num_vector_steps: int, stop: Callable[[], bool] = never) -> Collected:
    """Play that many vector steps of each actor: while one actor's emulators run, the next actor acts.

    If `stop` says so, play fewer steps, the same number for each actor.
    """
    collected = Collected()
    played = 0
    while played < num_vector_steps and not stop():
        for actor in actors:
            if played:
                actor.receive(collected)
            actor.send()
        played += 1
    if played:
        for actor in actors:
            actor.receive(collected)
    return collected
