"""Actors without a game, for load on the learner's side: they answer rounds with chunks of the paper's shape."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import Any

import numpy as np

from meme57.actors.actor import Collected, EpisodeResult
from meme57.actors.messages import unpack_weights
from meme57.actors.remote_actor import Plan, RemoteActor, Shared
from meme57.agent.inputs import left_behind
from meme57.config import Parameters
from meme57.envs import EnvSpec
from meme57.replay import Chunk
from meme57.replay.chunks import StepInputs
from meme57.replay.codec import compress_frames

CHUNKS_AN_EPISODE = 25


def template(parameters: Parameters, env: EnvSpec, *, policy: int = 0) -> Chunk:
    """Make one full chunk: a picture with a moving block, and noise so that frames have about a real game's size."""
    period, rng = parameters.replay.period, np.random.default_rng(policy)
    frames = np.zeros((period + 1, env.height, env.width), np.uint8)
    frames[:] = (
        rng.integers(0, 200, (8, 8), np.uint8)
        .repeat(env.height // 8 + 1, 0)
        .repeat(env.width // 8 + 1, 1)[: env.height, : env.width]
    )
    for t in range(period + 1):
        frames[t, t % (env.height - 8) : t % (env.height - 8) + 4, rng.integers(env.width - 4)] = 255
    n, size = period, parameters.novelty.embedding_size
    reward, *novelty = (rng.normal(size=n).astype(np.float32) for _ in range(4))
    embedding = rng.normal(size=(n, size)).astype(np.float16)
    steps: StepInputs = left_behind(rng.integers(env.num_actions, size=n), reward, [*novelty, embedding])
    first = StepInputs(*(np.array(value[0]) for value in steps))
    state = rng.normal(size=(2, parameters.network.lstm_size)).astype(np.float32)
    return Chunk(0, 0, 0, policy, 0, False, False, compress_frames(frames), (env.height, env.width), state, first,
                 steps, np.ones(n, np.float32))  # fmt: skip


class SyntheticActor(RemoteActor):
    """Answers immediately: each round has as many steps as requested, of every environment."""

    round_seconds = 0.0

    def begin(
        self, parameters: Parameters, env: EnvSpec, plan: Plan, weights: bytes | None = None, version: int = 0
    ) -> bytes:
        """Make one chunk, which is then repeated under new identities."""
        self._chunk = template(parameters, env)
        self._num_envs = len(range(plan.slot, parameters.env.num_envs, parameters.ray.workers))
        self._life, self._count, self._bandits, self._begun = plan.life, 0, None, time.monotonic()
        return self._answer(Collected(), {"node": "", "host": "synthetic", "process": os.getpid()})

    def collect(
        self, weights: bytes | None, version: int, num_vector_steps: int, shared: Shared | None, with_state: bool
    ) -> bytes:
        """Unpack the weights as a real actor does, and wait until a round's time is over."""
        start = time.monotonic()
        if weights is not None:
            unpack_weights(weights)
        collected = Collected()
        for _ in range(num_vector_steps // len(self._chunk.mu)):
            self._play_a_chunk(collected, version)
        answer = self._answer(collected, {"state": {}} if with_state else {})
        time.sleep(max(0.0, self.round_seconds - (time.monotonic() - start)))
        return answer

    def cut(self) -> bytes:
        """Return nothing: no episode is open."""
        return self._answer(Collected(), {"state": {}})

    def restart(self, shared: Shared | None) -> bytes:
        """Do nothing: there is nothing to begin."""
        return self._answer(Collected(), {})

    def _play_a_chunk(self, collected: Collected, version: int) -> None:
        episode, index = divmod(self._count, CHUNKS_AN_EPISODE)
        is_last = index == CHUNKS_AN_EPISODE - 1
        for env in range(self._num_envs):
            identity: dict[str, Any] = {"actor": self._life, "episode": episode * self._num_envs + env, "index": index}
            collected.chunks.append(replace(self._chunk, **identity, weight_version=version, is_last=is_last))
            if is_last:
                steps = CHUNKS_AN_EPISODE * len(self._chunk.mu)
                collected.episodes.append(EpisodeResult(0, 1.0, steps, 1.0, 1.0, epsilon=0.0))
        collected.num_steps += self._num_envs * len(self._chunk.mu)
        self._count += 1


class PacedActor(SyntheticActor):
    """An actor machine in slow motion: a round takes `round_seconds`, most of it asleep."""

    round_seconds = 1.0
