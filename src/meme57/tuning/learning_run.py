"""One learning run of a trial: a game, a seed, and `meme57.learning`'s `learn` in its own folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meme57.config import Parameters, parse_parameters
from meme57.config.games import file_name, game_settings
from meme57.config.tree import assign
from meme57.config.tuning import TuneParameters
from meme57.envs import env_spec
from meme57.evaluation.ranking import checkpoint_evaluation
from meme57.evaluation.statistics import human_normalised
from meme57.learning.machine import resident_memory
from meme57.learning.trainer import learn
from meme57.tuning.curve import Curve, summarise

NORMALISED, RETURN = "human-normalised", "return"
"""The two scales of a study's scores."""
COLUMNS = {
    "training": "episodes/return",
    "exploiting": "episodes/return_exploit",
    "evaluation": "evaluation/return",
}


@dataclass(frozen=True)
class Unit:
    """The game and the seed of one learning run."""

    game: str
    seed: int

    @property
    def name(self) -> str:
        """Name of its folder and its metric."""
        return f"{file_name(self.game)}-s{self.seed}"


@dataclass
class Health:
    """What constraints measure."""

    frames_per_second: list[float] = field(default_factory=list)
    """Of each learning run by itself: time in which it waits for the turns of the others does not count."""
    skipped_updates: float = 0.0
    memory_mb: float = 0.0

    def see(self, row: Mapping[str, float]) -> None:
        """Take one row of metrics into account."""
        self.skipped_updates = max(self.skipped_updates, row["learner/skipped_updates"])
        self.memory_mb = max(self.memory_mb, resident_memory() / 1e6)


def unit_parameters(
    tree: Mapping[str, Any], values: Mapping[str, Any], unit: Unit, tune: TuneParameters, *, frames: int
) -> Parameters:
    """Build the configuration with the trial's values, for one game and seed, `frames` long."""
    settings = {
        **game_settings(unit.game, tree["env"]["game"]),
        "run.name": unit.name,
        "run.seed": unit.seed,
        "run.fresh": False,
        "run.total_frames": frames,
        "run.log_period_frames": min(tune.report_period_frames, frames),
        "run.checkpoint_period_frames": min(tune.checkpoint_period_frames, frames),
        "run.keep_checkpoints": 1,
    }
    if tune.score == "evaluation":
        settings["learner.select_checkpoint"] = "best"  # whose score is made up for after a stop
    else:
        settings["learner.evaluation_episodes"] = 0
    return parse_parameters(assign(tree, {**values, **settings}))


class LearningRun:
    """A learning run that advances by frames; in the same folder it resumes from its newest checkpoint."""

    def __init__(
        self,
        parameters: Parameters,
        folder: Path,
        tune: TuneParameters,
        *,
        scale: str,
        stop: Callable[[], bool],
        health: Health,
    ) -> None:
        self.unit = Unit(parameters.env.game, parameters.run.seed)
        self.frames = 0
        self.total_frames = parameters.run.total_frames
        self._tune, self._scale, self._health = tune, scale, health
        self._curve = Curve(folder / "scores.json")
        self._seconds, self._measured_until = 0.0, 0.0
        self._resumes = any(folder.glob("checkpoints/checkpoint-*"))
        if not self._resumes:
            self._curve.drop_after(0)  # of a life that ended before its first checkpoint
        self._events = learn(
            parameters,
            env_spec(parameters.env),
            folder / "checkpoints",
            evaluate=checkpoint_evaluation(parameters, stop=stop),
            stop=stop,
        )

    def advance(self, frames: int) -> None:
        """Learn until `frames` are reached.

        Raises:
            Interrupted: a stop was requested; a checkpoint was written.
        """
        while self.frames < frames or frames >= self.total_frames:  # the last one to its end: a stop may come there
            begun = time.perf_counter()
            event = next(self._events, None)
            self._seconds += time.perf_counter() - begun
            if event is None:
                return
            if self.frames == 0:
                self._curve.drop_after(event.frames)
            for row in event.rows:
                self._health.see(row)
                if self.frames > 0 or not self._resumes:
                    self._health.frames_per_second.append((row["frames"] - self._measured_until) / self._seconds)
                self._measured_until, self._seconds = row["frames"], 0.0
                if COLUMNS[self._tune.score] in row:
                    self._curve.add(int(row["frames"]), self._scaled(row[COLUMNS[self._tune.score]]))
            self.frames = event.frames

    def value(self, frames: int | None = None) -> float | None:
        """Return the score up to `frames`, by default up to the end; None until an episode has ended."""
        frames = self.total_frames if frames is None else frames
        points = self._curve.until(frames, slack=self._tune.report_period_frames)
        return summarise(points, self._tune.metric, frames=frames)

    def close(self) -> None:
        """End the run's threads and emulators."""
        self._events.close()  # type: ignore[attr-defined]

    def _scaled(self, score: float) -> float:
        return human_normalised(score, self.unit.game) if self._scale == NORMALISED else score
