"""The trainer: a generator that collects, learns, logs and checkpoints, and resumes from the newest checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from meme57.agent.network import MemeNetwork
from meme57.agent.novelty import NoveltyNetworks
from meme57.checkpoints.bad_batch import keep_batch
from meme57.checkpoints.store import CheckpointRecord
from meme57.config import Parameters
from meme57.envs import EnvSpec
from meme57.errors import Interrupted, NonFiniteLossError
from meme57.learning.collector import Collector, ThreadCollector, TurnCollector
from meme57.learning.run_state import SCORE, TRAINING_RETURNS, RunState
from meme57.learning.updates import OverlappedUpdates, TurnUpdates, Updates
from meme57.learning.warm_start import start_learner
from meme57.lock import hold
from meme57.replay import SequenceBatch
from meme57.stopping import never

Evaluate = Callable[[MemeNetwork, NoveltyNetworks], float]
"""Mean return of the greedy exploiting policy; it may raise `Interrupted`."""


@dataclass(frozen=True)
class TrainingEvent:
    """What the trainer reports: a metrics row, a checkpoint, or both."""

    frames: int
    updates: int
    rows: list[dict[str, float]] = field(default_factory=list)
    checkpoint: CheckpointRecord | None = None


class Trainer:
    """One run of training. `run` yields events until `run.total_frames` are reached."""

    def __init__(
        self,
        parameters: Parameters,
        env: EnvSpec,
        folder: Path,
        *,
        evaluate: Evaluate | None = None,
        stop: Callable[[], bool] = never,
    ) -> None:
        self._parameters, self._env, self._folder = parameters, env, folder
        self._evaluate, self._stop = evaluate, stop
        torch.set_num_threads(parameters.learner.torch_threads)
        self.state = RunState(parameters, env, folder)

    def run(self, seed_replay: Path | None = None, initial_policy: Path | None = None) -> Iterator[TrainingEvent]:
        """Train, resuming from the newest checkpoint of the folder if there is one.

        A resumed run first yields the row and the record of that checkpoint again. So there is no gap if the process
        was killed after writing the checkpoint and before reporting it. If the score of the last checkpoint of the run
        (with `run.exact_resume`: of any) was left out, it is made then, before all else.

        Args:
            seed_replay: folder of `collect_seed_replay`, loaded at update 0; without it the actors warm up.
            initial_policy: folder of `keep_initial_policy`, used likewise if the parameters have `run.init_from`.

        Raises:
            Interrupted: `stop` asked for it; a checkpoint was written and yielded before. With `run.exact_resume` it is
                the next regular one: an extra one would end episodes that an uninterrupted run continues.
            RunConflictError: another process trains in this folder.
            ConfigurationError: the seed replay has all the frames of the run, or the initial policy does not fit.
            CheckpointError, ReplayError, NonFiniteLossError, StorageError: see there.
        """
        try:
            with hold(self._folder):
                if (resumed := self.state.resume()) is not None:
                    record, row = resumed
                    needs_score = self.state.is_done or self._parameters.run.exact_resume
                    if needs_score and self._lacks_score(record):
                        record = self._make_up(record, row)
                    yield self._event([row], record)
                    if needs_score and self._lacks_score(record):
                        raise self._interrupted()
                else:
                    self._begin(seed_replay, initial_policy)
                if not self.state.is_done:
                    yield from self._train()
        except NonFiniteLossError as error:
            raise self._with_batch(error) from error
        finally:
            self.state.pool.close()

    def _begin(self, seed_replay: Path | None, initial_policy: Path | None) -> None:
        if self._parameters.run.init_from is not None and initial_policy is not None:
            start_learner(self.state.learner, initial_policy)
            self.state.pool.begin_with(*self.state.learner.weights())
        if seed_replay is not None:
            self.state.take_seed_replay(seed_replay)

    def _train(self) -> Iterator[TrainingEvent]:
        run, state = self._parameters.run, self.state
        updates, collector = self.make_updates(), self._make_collector()
        next_log = _next_multiple(state.frames, run.log_period_frames)
        next_checkpoint = _next_multiple(state.frames, run.checkpoint_period_frames)
        state.speed.start(state.frames, state.learner.num_updates)
        centred = state.learner.num_updates > 0 or state.learner.has_fitted_frames or run.init_from is not None
        frames_to_fit = self._parameters.network.centre_frames and not centred
        try:
            while True:
                stopping = self._stop() and not run.exact_resume
                if frames_to_fit and not stopping and state.limiter.may_update:
                    state.fit_frames()
                    frames_to_fit = False
                if not stopping and updates.step():
                    continue
                if not stopping:
                    state.take(collector.next())
                if state.is_done or stopping or state.frames >= next_checkpoint:
                    next_checkpoint = _next_multiple(state.frames, run.checkpoint_period_frames)
                    next_log = _next_multiple(state.frames, run.log_period_frames)
                    updates.drain()
                    event = self._checkpoint(collector)
                    yield event
                    if state.is_done and not self._lacks_score(event.checkpoint):
                        return
                    if state.is_done or self._stop():
                        raise self._interrupted()
                elif state.frames >= next_log:
                    next_log = _next_multiple(state.frames, run.log_period_frames)
                    yield self._event([state.row()])
        finally:
            try:
                updates.close()
            finally:
                collector.close()

    def _checkpoint(self, collector: Collector) -> TrainingEvent:
        """Write one while the actors pause; the last one, and each one with `run.exact_resume`, ends their episodes."""
        state = self.state
        with collector.paused() as finished:
            state.take(finished)
            cut = self._parameters.run.exact_resume or state.is_done or self._stop()
            if cut:
                state.cut_episodes()
            row = state.row()
            if not self._ranks_by_evaluation:
                self._score(row)
            record = state.save(row, **self._rank())
            if self._ranks_by_evaluation:  # afterwards: what ends the process in these episodes costs no frame
                record = self._make_up(record, row)
            if cut and not state.is_done:
                state.pool.restart()
        return self._event([row], record)

    def _score(self, row: dict[str, float]) -> None:
        """Add the evaluation's return, if there is one, to the checkpoint's row; a stop leaves it out."""
        if self._evaluate is not None and not self._stop():
            with suppress(Interrupted):
                row[SCORE] = self._evaluate(self.state.learner.network, self.state.learner.novelty)

    def _make_up(self, record: CheckpointRecord, row: dict[str, float]) -> CheckpointRecord:
        """Add the score to a checkpoint without one and to its row, unless a stop leaves it out."""
        self._score(row)
        return self.state.store.add_score(record, row[SCORE]) if SCORE in row else record

    def _interrupted(self) -> Interrupted:
        return Interrupted(
            f"stopped at {self.state.frames:,} frames: {self._parameters.same_command} resumes from there"
        )

    @property
    def _ranks_by_evaluation(self) -> bool:
        return self._evaluate is not None and self._parameters.learner.select_checkpoint == "best"

    def _rank(self) -> dict[str, Any]:
        """Return the score that selects the best checkpoint, and its measure; without any, the newest is selected."""
        if self._ranks_by_evaluation:
            return {"score": None, "measure": self.state.measure}
        if self._parameters.learner.select_checkpoint == "newest":
            return {"score": None, "measure": None}
        return {"score": self.state.statistics.exploit_score, "measure": TRAINING_RETURNS}

    def _lacks_score(self, record: CheckpointRecord | None) -> bool:
        """Say whether the evaluation that ranks the checkpoint was left out: by a stop, or by the end of a process."""
        measure = self.state.measure
        return record is not None and self._ranks_by_evaluation and (record.measure, record.score) == (measure, None)

    def _make_collector(self) -> Collector:
        learner, begun, skip = self._parameters.learner, self.state.frames, self._env.frame_skip
        pool, weights = self.state.pool, self.state.learner.weights
        stop = never if self._parameters.run.exact_resume else self._stop

        def round_steps(num_steps: int) -> int:
            return self._round_steps(begun + num_steps * skip)

        if learner.mode == "synchronous":
            return TurnCollector(pool, weights, round_steps=round_steps, stop=stop)
        return ThreadCollector(pool, weights, round_steps=round_steps, torch_threads=learner.torch_threads, stop=stop)

    def _round_steps(self, frames: int) -> int:
        """Return the vector steps of a round that begins at `frames`; it ends near a checkpoint and at the run's end.

        They depend only on `frames`, so a resumed run has the same rounds as an uninterrupted one.
        """
        run = self._parameters.run
        end = min(run.total_frames, _next_multiple(frames, run.checkpoint_period_frames))
        left = math.ceil((end - frames) / (self.state.pool.num_envs * self._env.frame_skip))
        return max(0, min(left, self._parameters.actors.weights_period_steps))

    def make_updates(self) -> Updates:
        """Make the updates: in turn with collecting, or at the same time."""
        make = TurnUpdates if self._parameters.learner.mode == "synchronous" else OverlappedUpdates
        state = self.state
        return make(
            state.learner, state.replay, state.limiter, state.rng,
            batch_size=self._parameters.learner.batch_size, on_update=state.statistics.add_update,
        )  # fmt: skip

    def _with_batch(self, error: NonFiniteLossError) -> NonFiniteLossError:
        if not isinstance(error.batch, SequenceBatch):
            return error
        learner = self.state.learner
        facts = {
            "error": str(error),
            "frames": self.state.frames,
            "updates": learner.num_updates,
            "skipped_updates": learner.num_skipped,
            "fingerprint": self._parameters.fingerprint(),
        }
        kept = keep_batch(self._folder, error.batch, learner.tensors(), facts)
        return NonFiniteLossError(f"{error}; the batch is kept in {kept}")

    def _event(self, rows: list[dict[str, float]], checkpoint: CheckpointRecord | None = None) -> TrainingEvent:
        return TrainingEvent(self.state.frames, self.state.learner.num_updates, rows, checkpoint)


def learn(
    parameters: Parameters,
    env: EnvSpec,
    folder: Path,
    *,
    seed_replay: Path | None = None,
    initial_policy: Path | None = None,
    evaluate: Evaluate | None = None,
    stop: Callable[[], bool] = never,
) -> Iterator[TrainingEvent]:
    """Train a run in `folder` and yield its events; see `Trainer.run`."""
    trainer = Trainer(parameters, env, folder, evaluate=evaluate, stop=stop)
    yield from trainer.run(seed_replay, initial_policy)


def _next_multiple(frames: int, period: int) -> int:
    return (frames // period + 1) * period
