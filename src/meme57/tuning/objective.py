"""The objective of one trial: it learns each game with each seed, reports scores on the way, and may be pruned."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import optuna

from meme57.config import Parameters
from meme57.config.tuning import TuneParameters
from meme57.errors import Interrupted, TuningError
from meme57.tuning.learning_run import Health, LearningRun, Unit, unit_parameters

Report = Callable[[int, float], None]
"""Called with each intermediate score and its frames."""

log = logging.getLogger(__name__)


class Objective:
    """The learning runs of one trial, and the score that they give."""

    def __init__(
        self,
        parameters: Parameters,
        values: Mapping[str, Any],
        folder: Path,
        *,
        scale: str,
        stop: Callable[[], bool],
        report: Report = lambda frames, score: None,
    ) -> None:
        self._tree = parameters.model_dump(mode="json", by_alias=True)
        self._tune: TuneParameters = parameters.tune
        self._games = parameters.tune_games
        self._values, self._folder, self._stop, self._report = values, folder, stop, report
        self._scale = scale
        self.health = Health()
        self.scores: dict[str, float] = {}
        self.frames = 0

    def __call__(self, trial: optuna.Trial) -> float:
        """Compute the trial's score, higher is better.

        Raises:
            TrialPruned: the pruner stopped the trial.
            Interrupted: a stop was requested; a checkpoint was written.
        """
        try:
            score = self._learn(trial, self._units(self._tune.seeds), prune=True)
            if self._tune.leader_seeds and _leads(trial.study, score):
                self._learn(trial, self._units(self._tune.leader_seeds), prune=False)
                score = statistics.fmean(self.scores.values())
            return score
        finally:
            trial.set_user_attr("frames", self.frames)
            trial.set_user_attr("scores", self.scores)

    def constrain(self, trial: optuna.Trial) -> None:
        """Report to Optuna by how much a finished trial breaks each constraint."""
        for name, excess in constraint_excess(self.health, self._tune).items():
            trial.set_constraint(name, excess)

    def _units(self, seeds: Sequence[int]) -> list[Unit]:
        return [Unit(game, seed) for game in self._games for seed in seeds]

    def _learn(self, trial: optuna.Trial, units: Sequence[Unit], *, prune: bool) -> float:
        one_by_one = self._tune.pruner == "wilcoxon" or not prune
        learn = self._one_by_one if one_by_one else self._abreast
        with ExitStack() as stack:
            runs = [self._open(unit, stack) for unit in units]
            try:
                learn(trial, runs, prune)
            finally:
                self.frames += sum(run.frames for run in runs)
            self.scores |= {run.unit.name: _ended(run) for run in runs}
        return statistics.fmean(self.scores.values())

    def _abreast(self, trial: optuna.Trial, runs: Sequence[LearningRun], prune: bool) -> None:
        """Advance all runs to each report's frames together; a report is their mean score there."""
        period, total = self._tune.report_period_frames, self._tune.frames
        for frames in [*range(period, total, period), total]:
            _advance(runs, frames)
            scores = [run.value(frames) for run in runs]
            if None in scores:
                continue
            score = statistics.fmean(score for score in scores if score is not None)
            self._report(frames, score)
            trial.report(score, frames)
            behind = min(run.frames for run in runs) >= frames + period  # a resumed run repeats its reports
            if prune and frames < total and not behind and trial.should_prune():
                raise optuna.TrialPruned(f"at {frames:,} frames")

    def _one_by_one(self, trial: optuna.Trial, runs: Sequence[LearningRun], prune: bool) -> None:
        """Finish one run after the other; a report is a run's score, and its step is the run's number."""
        first = len(self.scores)
        for number, run in enumerate(runs, start=first):
            run.advance(run.total_frames)
            run.close()  # its replay, before the next one fills another
            score = _ended(run)
            self._report((number + 1) * self._tune.frames, score)
            trial.report(score, number)
            if prune and run is not runs[-1] and trial.should_prune():
                raise optuna.TrialPruned(f"after {number + 1} of {len(runs)} games and seeds")

    def _open(self, unit: Unit, stack: ExitStack) -> LearningRun:
        own = unit_parameters(self._tree, self._values, unit, self._tune, frames=self._tune.frames)
        folder = self._folder / unit.name
        run = LearningRun(own, folder, self._tune, scale=self._scale, stop=self._stop, health=self.health)
        stack.callback(run.close)
        return run


def constraint_excess(health: Health, tune: TuneParameters) -> dict[str, float]:
    """Compute by how much each constraint is broken; 0 or less means kept, and so does an unmeasured speed."""
    limits, excess = tune.constraints, {}
    if limits.max_memory_mb is not None:
        excess["max_memory_mb"] = health.memory_mb - limits.max_memory_mb
    if limits.min_frames_per_second is not None:
        speeds = health.frames_per_second or [limits.min_frames_per_second]
        excess["min_frames_per_second"] = limits.min_frames_per_second - statistics.median(speeds)
    if limits.max_skipped_updates is not None:
        excess["max_skipped_updates"] = health.skipped_updates - limits.max_skipped_updates
    return excess


def _advance(runs: Sequence[LearningRun], frames: int) -> None:
    """Advance every run to `frames`; on a stop request, every run writes its checkpoint first."""
    interruption = None
    for run in runs:
        try:
            run.advance(frames if interruption is None else run.total_frames)
        except Interrupted as error:
            interruption = error
    if interruption is not None:
        raise interruption


def _leads(study: optuna.Study, score: float) -> bool:
    try:
        return score > study.best_value
    except ValueError:  # no trial is complete (or feasible) yet
        return True


def _ended(run: LearningRun) -> float:
    score = run.value()
    if score is None:
        raise TuningError(
            f"no episode of {run.unit.game} ended within tune.frames={run.total_frames}: "
            "raise it, or lower env.max_episode_frames"
        )
    return score
