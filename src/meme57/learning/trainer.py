"""The trainer: a generator that collects, learns, logs and checkpoints, and goes on from the newest checkpoint."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from meme57.actors import Collected, make_pool
from meme57.agent.network import MemeNetwork
from meme57.agent.novelty import NoveltyNetworks
from meme57.blueprint import agent_spec, find_device, make_replay
from meme57.checkpoints.bad_batch import keep_batch
from meme57.checkpoints.state import foreign_state, parse_state
from meme57.checkpoints.store import Checkpoint, CheckpointRecord, CheckpointStore
from meme57.config import Parameters
from meme57.envs import EnvSpec
from meme57.errors import CheckpointError, ConfigurationError, Interrupted, NonFiniteLossError, StorageError
from meme57.files import storage_errors
from meme57.learning.collector import Collector, ThreadCollector, TurnCollector
from meme57.learning.learner import Learner
from meme57.learning.policies import describe
from meme57.learning.rate_limiter import RateLimiter
from meme57.learning.seed_replay import load_seed_replay
from meme57.learning.staleness import Staleness
from meme57.learning.statistics import TrainingStatistics
from meme57.learning.updates import OverlappedUpdates, TurnUpdates, Updates
from meme57.lock import hold
from meme57.replay import SequenceBatch, collect_garbage, load_snapshot, save_snapshot
from meme57.stopping import never

Evaluate = Callable[[MemeNetwork, NoveltyNetworks], float]
"""Mean return of the greedy exploiting policy; it may raise `Interrupted`."""

FRAME_SEQUENCES = 256
"""Sequences that the frame normaliser is fitted on."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingEvent:
    """What the trainer tells as it goes: a metrics row, a checkpoint, or both."""

    frames: int
    updates: int
    rows: list[dict[str, float]] = field(default_factory=list)
    checkpoint: CheckpointRecord | None = None


class Trainer:
    """One run's training state. `run` yields events until `run.total_frames` are reached."""

    def __init__(
        self,
        parameters: Parameters,
        env: EnvSpec,
        folder: Path,
        *,
        evaluate: Evaluate | None = None,
        stop: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._parameters, self._env, self._folder = parameters, env, folder
        self._evaluate, self._stop, self._clock = evaluate, stop, clock
        torch.set_num_threads(parameters.learner.torch_threads)
        device = find_device()
        self.spec = agent_spec(parameters, env)
        self.learner = Learner(parameters, self.spec, device=device)
        self.replay = make_replay(parameters, env)
        self._pool = make_pool(parameters, env, self.spec, device=device)
        self._limiter = RateLimiter(
            samples_per_insert=parameters.replay.samples_per_insert,
            min_sequences=parameters.replay.min_sequences,
            batch_size=parameters.learner.batch_size,
        )
        self._store = CheckpointStore(
            folder,
            fingerprint=parameters.fingerprint(),
            configuration=parameters.configuration(),
            keep=parameters.run.keep_checkpoints,
        )
        self._statistics = TrainingStatistics()
        is_remote = parameters.actors.pool == "ray"  # the local pool's chunks are as old as its rounds, by construction
        self._staleness = Staleness(parameters.ray.max_staleness_updates if is_remote else math.inf)
        self._rng = np.random.default_rng([parameters.run.seed, 2])
        self._frames = 0
        self._elapsed = 0.0
        self._replay_index: dict[str, Any] | None = None
        self._resumed_row: dict[str, float] = {}

    def run(self, seed_replay: Path | None = None) -> Iterator[TrainingEvent]:
        """Trains; resumes from the newest checkpoint of the folder if there is one.

        A resumed run begins with the row and the record of that checkpoint once more: a process that was killed
        between writing it and telling of it leaves no gap.

        Args:
            seed_replay: folder of `collect_seed_replay`, taken in at update 0; without it the actors warm up.

        Raises:
            Interrupted: `stop` asked for it; a checkpoint was written and yielded before. Under `run.exact_resume` that
                is the next regular one, since one more would end episodes that an uninterrupted run plays on.
            RunConflictError: another process trains in this folder.
            ConfigurationError: the seed replay has all the frames that the run may see.
            CheckpointError, ReplayError, NonFiniteLossError, StorageError: see there.
        """
        try:
            with ExitStack() as held:
                with storage_errors(self._folder):
                    held.enter_context(hold(self._folder))
                if (resumed := self._store.restore(self._restore)) is not None:
                    self._collect_garbage()
                    yield self._event([self._resumed_row], resumed)
                elif seed_replay is not None:
                    self._take_seed_replay(seed_replay)
                    self._refuse_nothing_to_learn()
                if not self._is_done():
                    yield from self._train()
        except NonFiniteLossError as error:
            raise self._with_batch(error) from error
        finally:
            self._pool.close()

    def _train(self) -> Iterator[TrainingEvent]:
        run = self._parameters.run
        self._updates = self._make_updates()
        collector = self._make_collector()
        next_log = _next_multiple(self._frames, run.log_period_frames)
        next_checkpoint = _next_multiple(self._frames, run.checkpoint_period_frames)
        self._log_start = (self._clock(), self._frames, self.learner.num_updates)
        self._frames_to_fit = self.learner.num_updates == 0 and self._parameters.network.centre_frames
        try:
            while True:
                stopping = self._stop() and not run.exact_resume
                if not stopping and self._learned():
                    continue
                if not stopping:
                    self._take(collector.next())
                if self._is_done() or stopping or self._frames >= next_checkpoint:
                    next_checkpoint = _next_multiple(self._frames, run.checkpoint_period_frames)
                    next_log = _next_multiple(self._frames, run.log_period_frames)
                    yield self._checkpoint(collector)
                    if self._is_done():
                        return
                    if self._stop():
                        raise Interrupted(f"stopped at {self._frames:,} frames: the same command goes on from there")
                elif self._frames >= next_log:
                    next_log = _next_multiple(self._frames, run.log_period_frames)
                    yield self._event([self._row()])
        finally:
            try:
                self._updates.close()
            finally:
                collector.close()

    def _make_collector(self) -> Collector:
        chosen, begun, skip = self._parameters.learner, self._frames, self._env.frame_skip
        stop = never if self._parameters.run.exact_resume else self._stop

        def round_steps(num_steps: int) -> int:
            return self._round_steps(begun + num_steps * skip)

        if chosen.mode == "synchronous":
            return TurnCollector(self._pool, self.learner.weights, round_steps=round_steps, stop=stop)
        return ThreadCollector(
            self._pool, self.learner.weights, round_steps=round_steps, torch_threads=chosen.torch_threads, stop=stop
        )

    def _round_steps(self, frames: int) -> int:
        """Vector steps of a round that begins at `frames`: none goes far beyond a checkpoint, or beyond the end.

        A function of `frames` alone, so that a resumed run has the rounds of an uninterrupted one.
        """
        run = self._parameters.run
        end = min(run.total_frames, _next_multiple(frames, run.checkpoint_period_frames))
        left = math.ceil((end - frames) / (self._pool.num_envs * self._env.frame_skip))
        return max(0, min(left, self._parameters.actors.weights_period_steps))

    def _make_updates(self) -> Updates:
        make = TurnUpdates if self._parameters.learner.mode == "synchronous" else OverlappedUpdates
        return make(
            self.learner, self.replay, self._limiter, self._rng,
            batch_size=self._parameters.learner.batch_size, on_update=self._statistics.add_update,
        )  # fmt: skip

    def _take(self, collected: Collected) -> None:
        self._frames += collected.num_steps * self._env.frame_skip
        fresh = self._staleness.fresh(collected.chunks, self.learner.num_updates)
        self._limiter.insert(self.replay.add(fresh))
        self._limiter.insert(self.replay.end_pending(collected.lost_actors))
        self._statistics.add_episodes(collected.episodes)

    def _take_seed_replay(self, folder: Path) -> None:
        chunks, record = load_seed_replay(self._parameters, folder)
        self._limiter.insert(self.replay.add(chunks))
        self._limiter.insert(self.replay.end_pending())  # of actors that were lost
        self._frames += record["frames"]

    def _refuse_nothing_to_learn(self) -> None:
        total = self._parameters.run.total_frames
        if self._frames >= total:
            raise ConfigurationError(
                f"the seed replay has {self._frames:,} frames and run.total_frames={total} is no more: nothing "
                "would be learned; raise run.total_frames, or lower replay.min_sequences"
            )

    def _learned(self) -> bool:
        """One update where the rate limiter allows it, the frames' centre fitted before the first one."""
        if self._frames_to_fit and self._limiter.may_update:
            self._frames_to_fit = False
            self._fit_frames()
        return self._updates.step()

    def _fit_frames(self) -> None:
        """Centres the networks on frames of the untrained agent."""
        size, rng = self._parameters.learner.batch_size, np.random.default_rng([self._parameters.run.seed, 5])
        drawn, batch = [], self.replay.new_batch(size)
        for _ in range(FRAME_SEQUENCES // size + 1):
            self.replay.sample(size, rng, out=batch)
            real = np.arange(batch.frames.shape[1]) <= batch.lengths[:, None]
            drawn.append(torch.from_numpy(batch.frames[real]))
        self.learner.fit_frames(torch.cat(drawn))

    def _with_batch(self, error: NonFiniteLossError) -> NonFiniteLossError:
        if not isinstance(error.batch, SequenceBatch):
            return error
        facts = {
            "error": str(error),
            "frames": self._frames,
            "updates": self.learner.num_updates,
            "skipped_updates": self.learner.num_skipped,
            "fingerprint": self._parameters.fingerprint(),
        }
        kept = keep_batch(self._folder, error.batch, self.learner.tensors(), facts)
        return NonFiniteLossError(f"{error}; the batch is kept in {kept}")

    def _event(self, rows: list[dict[str, float]], checkpoint: CheckpointRecord | None = None) -> TrainingEvent:
        return TrainingEvent(self._frames, self.learner.num_updates, rows, checkpoint)

    def _row(self) -> dict[str, float]:
        started, frames, updates = self._log_start
        self._log_start = (self._clock(), self._frames, self.learner.num_updates)
        seconds = max(1e-9, self._log_start[0] - started)
        self._elapsed += seconds
        return {
            "frames": float(self._frames),
            "updates": float(self.learner.num_updates),
            "elapsed_seconds": self._elapsed,
            "speed/frames_per_second": (self._frames - frames) / seconds,
            "speed/updates_per_second": (self.learner.num_updates - updates) / seconds,
            "replay/sequences": float(len(self.replay)),
            "replay/bytes_per_step": self.replay.num_bytes
            / max(1, self.replay.num_chunks * self._parameters.replay.period),
            "replay/effective_share": self.replay.effective_share(),
            "replay/samples_per_insert": self._limiter.samples_per_insert,
            "learner/skipped_updates": float(self.learner.num_skipped),
            **self._staleness.row(),
            **self._pool.metrics(),
            **self._statistics.row(),
        }

    def _is_done(self) -> bool:
        return self._frames >= self._parameters.run.total_frames

    def _checkpoint(self, collector: Collector) -> TrainingEvent:
        self._updates.drain()
        with collector.paused() as finished:
            self._take(finished)
            cut = self._parameters.run.exact_resume or self._is_done() or self._stop()
            if cut:
                self._take(self._pool.cut_episodes())
                self._limiter.insert(self.replay.end_pending())
            row = self._row()
            if self._evaluate is not None and not self._stop():
                with suppress(Interrupted):  # the checkpoint has no score
                    row["evaluation/return"] = self._evaluate(self.learner.network, self.learner.novelty)
            record = self._save(row)
            if cut and not self._is_done():
                self._pool.restart()
        return self._event([row], record)

    def _save(self, row: dict[str, float]) -> CheckpointRecord:
        replay_folder = self._folder / "replay"
        self._replay_index = save_snapshot(self.replay, replay_folder, self._replay_index)
        record = self._store.save(
            tensors=self.learner.tensors(),
            state={
                "learner": self.learner.state_dict(),
                "limiter": self._limiter.state_dict(),
                "pool": self._pool.state_dict(),
                "statistics": self._statistics.state_dict(),
                "random": self._rng.bit_generator.state,
                "frames": self._frames,
                "elapsed_seconds": self._elapsed,
                "replay": self._replay_index,
                "row": {name: value for name, value in row.items() if math.isfinite(value)},
            },
            description=describe(self._env, self.spec.network, self.spec.novelty, self._parameters),
            frames=self._frames,
            updates=self.learner.num_updates,
            score=row.get("evaluation/return") if self._evaluate else self._statistics.exploit_score,
        )
        self._collect_garbage()
        return record

    def _collect_garbage(self) -> None:
        """Removes replay files that no checkpoint needs; a failure costs space, not the run."""
        try:
            collect_garbage(self._folder / "replay", self._store.replay_indices())
        except (CheckpointError, StorageError, OSError) as error:
            logger.warning("replay files that nothing needs stay: %s", error)

    def _restore(self, checkpoint: Checkpoint) -> None:
        state = parse_state(checkpoint.state, checkpoint.folder / "state.json")
        names = ("network", "target", "novelty", "optimiser", "novelty_optimiser", "scales")
        tensors = {name: checkpoint.tensors(name) for name in names}
        load_snapshot(self.replay, self._folder / "replay", state.replay)
        self._replay_index = state.replay
        with foreign_state(checkpoint.folder):
            self.learner.load_tensors(tensors)
            self.learner.load_state_dict(state.learner.model_dump())
            self._limiter.load_state_dict(state.limiter.model_dump())
            self._limiter.insert(self.replay.end_pending())
            self._statistics.load_state_dict(state.statistics.model_dump())
            self._rng.bit_generator.state = state.random
            self._frames, self._elapsed, self._resumed_row = state.frames, state.elapsed_seconds, state.row
            self._pool.load_weights(*self.learner.weights())
            self._pool.load_state_dict(state.pool)
        logger.info("resumed from %s at %s frames", checkpoint.folder.name, f"{self._frames:,}")


def learn(
    parameters: Parameters,
    env: EnvSpec,
    folder: Path,
    *,
    seed_replay: Path | None = None,
    evaluate: Evaluate | None = None,
    stop: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[TrainingEvent]:
    """Trains a run in `folder` and yields events as they come; see `Trainer.run`."""
    yield from Trainer(parameters, env, folder, evaluate=evaluate, stop=stop, clock=clock).run(seed_replay)


def _next_multiple(frames: int, period: int) -> int:
    return (frames // period + 1) * period
