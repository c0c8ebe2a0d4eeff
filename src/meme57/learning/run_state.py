"""The state of a run, as a checkpoint stores it: learner, replay, actors and counters."""

from __future__ import annotations

import logging
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from meme57.actors import Collected, make_pool
from meme57.blueprint import agent_spec, find_device, make_replay
from meme57.checkpoints.state import foreign_state, parse_state
from meme57.checkpoints.store import Checkpoint, CheckpointRecord, CheckpointStore
from meme57.config import Parameters
from meme57.envs import EnvSpec
from meme57.errors import CheckpointError, StorageError
from meme57.learning.learner import Learner
from meme57.learning.policies import describe
from meme57.learning.rate_limiter import RateLimiter
from meme57.learning.seed_replay import check_frames_left, load_seed_replay
from meme57.learning.speed import Speed
from meme57.learning.staleness import Staleness
from meme57.learning.statistics import TrainingStatistics
from meme57.replay import collect_garbage, load_snapshot, save_snapshot

TENSOR_FILES = ("network", "target", "novelty", "optimiser", "novelty_optimiser", "scales")
FRAME_SEQUENCES = 256
"""Sequences that the frame normaliser is fitted on."""
SCORE = "evaluation/return"
"""The column of the metrics row that ranks checkpoints which were evaluated."""
TRAINING_RETURNS, GREEDY_EPISODES = "training returns", "greedy episodes"
"""What a checkpoint's score measures: the mean return of policy 0 in training, or of evaluation episodes."""
DRAWN_EPISODES = "episodes drawn at temperature {:g}"
"""The same of evaluation episodes whose actions are drawn (`evaluate.temperature`)."""

logger = logging.getLogger(__name__)


class RunState:
    """The parts of one run and their counters; it is saved to a checkpoint and restored from one."""

    def __init__(self, parameters: Parameters, env: EnvSpec, folder: Path) -> None:
        self._parameters, self._env, self._replay_folder = parameters, env, folder / "replay"
        device = find_device()
        self.spec = agent_spec(parameters, env)
        self.learner = Learner(parameters, self.spec, device=device)
        self.replay = make_replay(parameters, env)
        self.pool = make_pool(parameters, env, self.spec, device=device)
        self.limiter = RateLimiter(
            samples_per_insert=parameters.replay.samples_per_insert,
            min_sequences=parameters.replay.min_sequences,
            batch_size=parameters.learner.batch_size,
        )
        self.store = CheckpointStore(
            folder,
            fingerprint=parameters.fingerprint(),
            configuration=parameters.configuration(),
            keep=parameters.run.keep_checkpoints,
        )
        self.statistics = TrainingStatistics(actions_are_drawn=parameters.actors.temperature > 0)
        self._is_remote = parameters.actors.pool == "ray"  # a local pool's chunks cannot be older than its rounds
        self._staleness = Staleness(parameters.ray.max_staleness_updates if self._is_remote else math.inf)
        self.speed = Speed(time.monotonic)
        self.rng = np.random.default_rng([parameters.run.seed, 2])
        self.frames = 0
        self._replay_index: dict[str, Any] | None = None

    @property
    def measure(self) -> str:
        """What the score of a checkpoint measures that is ranked by evaluation episodes."""
        temperature = self._parameters.evaluate.temperature
        return DRAWN_EPISODES.format(temperature) if temperature else GREEDY_EPISODES

    @property
    def is_done(self) -> bool:
        """Whether all frames were played."""
        return self.frames >= self._parameters.run.total_frames

    def take(self, collected: Collected) -> None:
        """Take in what the actors played."""
        self.frames += collected.num_steps * self._env.frame_skip
        fresh = self._staleness.fresh(collected.chunks, self.learner.num_updates)
        self.limiter.insert(self.replay.add(fresh))
        ended = {(chunk.actor, chunk.episode) for chunk in collected.chunks if chunk.is_last}  # be it refused
        self.limiter.insert(self.replay.end_pending(collected.lost_actors, ended))
        self.statistics.add_episodes(collected.episodes)

    def take_seed_replay(self, folder: Path) -> None:
        """Take in the frames of `collect_seed_replay`.

        Raises:
            ConfigurationError: they already are all the frames of the run.
        """
        chunks, record = load_seed_replay(self._parameters, folder)
        self.limiter.insert(self.replay.add(chunks))
        self.limiter.insert(self.replay.end_pending())  # episodes of actors that were lost
        self.frames += record["frames"]
        check_frames_left(self._parameters, self.frames)

    def cut_episodes(self) -> None:
        """End all open episodes as truncations, so that no episode is open; `pool.restart` must follow."""
        self.take(self.pool.cut_episodes())
        self.limiter.insert(self.replay.end_pending())

    def fit_frames(self) -> None:
        """Centre the networks on frames of the untrained agent."""
        size, rng = self._parameters.learner.batch_size, np.random.default_rng([self._parameters.run.seed, 5])
        drawn, batch = [], self.replay.new_batch(size)
        for _ in range(FRAME_SEQUENCES // size + 1):
            self.replay.sample(size, rng, out=batch)
            real = np.arange(batch.frames.shape[1]) <= batch.lengths[:, None]
            drawn.append(torch.from_numpy(batch.frames[real]))
        self.learner.fit_frames(torch.cat(drawn))

    def row(self) -> dict[str, float]:
        """Return all metrics since the last row."""
        steps_stored = max(1, self.replay.num_chunks * self._parameters.replay.period)
        return {
            **self.speed.row(self.frames, self.learner.num_updates),
            "replay/sequences": float(len(self.replay)),
            "replay/bytes_per_step": self.replay.num_bytes / steps_stored,
            "replay/effective_share": self.replay.effective_share(),
            "replay/samples_per_insert": self.limiter.samples_per_insert,
            "learner/skipped_updates": float(self.learner.num_skipped),
            **self._staleness.row(),
            **self.pool.metrics(),
            **self.statistics.row(),
        }

    def save(self, row: dict[str, float], *, score: float | None, measure: str | None) -> CheckpointRecord:
        """Write a checkpoint with its metrics row."""
        self._replay_index = save_snapshot(self.replay, self._replay_folder, self._replay_index)
        record = self.store.save(
            tensors=self.learner.tensors(),
            state={
                "learner": self.learner.state_dict(),
                "limiter": self.limiter.state_dict(),
                "pool": self.pool.state_dict(),
                "statistics": self.statistics.state_dict(),
                "random": self.rng.bit_generator.state,
                "frames": self.frames,
                "elapsed_seconds": self.speed.elapsed_seconds,
                "replay": self._replay_index,
                "row": {name: value for name, value in row.items() if math.isfinite(value)},
            },
            description=describe(self._env, self.spec.network, self.spec.novelty, self._parameters),
            frames=self.frames,
            updates=self.learner.num_updates,
            score=score,
            measure=measure,
        )
        self._collect_garbage()
        return record

    def resume(self) -> tuple[CheckpointRecord, dict[str, float]] | None:
        """Resume from the newest valid checkpoint; return its record and metrics row, or None if there is none."""
        rows: list[dict[str, float]] = []
        record = self.store.restore(lambda checkpoint: rows.append(self.restore(checkpoint)))
        if record is None:
            return None
        self._collect_garbage()
        row = rows[-1]
        if record.measure == self.measure and record.score is not None:
            row[SCORE] = record.score  # it was made after the row
        return record, row

    def restore(self, checkpoint: Checkpoint) -> dict[str, float]:
        """Restore the state of a checkpoint, and return its metrics row.

        Raises:
            CheckpointError, ReplayError: it is damaged, or belongs to another run.
        """
        state = parse_state(checkpoint.state, checkpoint.folder / "state.json")
        tensors = {name: checkpoint.tensors(name) for name in TENSOR_FILES}
        load_snapshot(self.replay, self._replay_folder, state.replay)
        self._replay_index = state.replay
        with foreign_state(checkpoint.folder):
            self.learner.load_tensors(tensors)
            self.learner.load_state_dict(state.learner.model_dump())
            self.limiter.load_state_dict(state.limiter.model_dump())
            self.limiter.insert(self.replay.end_pending())
            self.statistics.load_state_dict(state.statistics.model_dump())
            self.rng.bit_generator.state = state.random
            self.frames, self.speed.elapsed_seconds = state.frames, state.elapsed_seconds
            plays = not (self.is_done and self._is_remote)  # else nobody plays any more: no cluster need be there
            if plays:
                self.pool.load_weights(*self.learner.weights())
                self.pool.restore(state.pool)
        if plays:
            self.pool.resume()  # an error of the environment is none of the checkpoint
        logger.info("resumed from %s at %s frames", checkpoint.folder.name, f"{self.frames:,}")
        return state.row

    def _collect_garbage(self) -> None:
        """Remove replay files that no checkpoint needs; a failure costs space but does not stop the run."""
        try:
            collect_garbage(self._replay_folder, self.store.replay_indices())
        except (CheckpointError, StorageError, OSError) as error:
            logger.warning("replay files that no checkpoint needs could not be removed: %s", error)
