"""The group `tune`: what a study varies, what it measures, and what it may spend (docs/tuning.md)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from meme57.agent.bounds import Count, Finite, Fraction, Positive, Whole
from meme57.config.fields import Alone, Group, Name, Seed, Seeds
from meme57.config.games import listed_game

Games = Annotated[tuple[Annotated[str, AfterValidator(listed_game)], ...], Alone]


class Dimension(Group):
    """One parameter that the study varies; `meme57.tuning.space` checks it against the typed tree."""

    name: str
    """Dotted name, such as `learner.learning_rate`."""
    type: Literal["float", "log_float", "int", "log_int", "categorical"]
    """Kind of the dimension."""
    low: Finite | None = None
    """Lower end."""
    high: Finite | None = None
    """Upper end."""
    step: Finite | None = None
    """Step between values."""
    choices: tuple[Any, ...] | None = None
    """Values of a categorical dimension."""
    when: dict[str, Any] | None = None
    """Values that earlier categorical dimensions must have; otherwise the parameter keeps its configured value."""


class ConstraintParameters(Group):
    """What a trial must meet to be feasible; None sets no constraint."""

    max_memory_mb: Positive | None = None
    """Resident memory of the worker, sampled at each report (Linux)."""
    min_frames_per_second: Positive | None = None
    """Slower trials are infeasible. It is the median speed of a learning run by itself, not of several together."""
    max_skipped_updates: Whole | None = None
    """Updates skipped for a non-finite loss or gradient."""


class TuneParameters(Group):
    """A study: `kedro run --pipelines tune`."""

    study: Name | None = None
    """Name of the study, which is in each of its paths; by default the names of its games."""
    space: tuple[Dimension, ...] = ()
    """The parameters that are varied; the last table of this page describes an entry. A list replaces that of base."""
    games: Games = ()
    """Games that trials play; by default the run's game."""
    seeds: Seeds = (1,)
    """Training seeds of every trial; each game is learned once with each."""
    leader_seeds: Seeds = ()
    """More seeds on which a leading trial is tested before it counts as the best."""
    metric: Literal["final", "auc"] = "final"
    """Mean score over the last quarter of the frames, or over all of them."""
    score: Literal["training", "exploiting", "evaluation"] = "training"
    """Whose returns: all policies', policy 0's, or the greedy evaluation's at checkpoints.

    Evaluation cuts games at 27,000 frames, so its human-normalised scores compare trials, and nothing else.
    """
    frames: Count = 200_000
    """Emulator frames of one learning run."""
    report_period_frames: Count = 20_000
    """ALE frames between two reports of a trial's score; pruning happens there."""
    checkpoint_period_frames: Count = 100_000
    """ALE frames between two checkpoints of a trial; with `score: evaluation` also between two of its scores."""
    num_trials: Count = 30
    """Largest number of trials."""
    max_frames: Count | None = None
    """No new trial starts once all trials together have played so many frames."""
    baseline: bool = True
    """Give the first trial the configured values, as far as they lie in the space."""
    sampler: Literal["auto", "gp", "pr", "tpe", "random"] = "auto"
    """auto: gp without a pruner, tpe with one."""
    sampler_seed: Seed = 57
    """Seed of the sampler."""
    startup_trials: Count = 10
    """Random trials before the sampler learns from results."""
    pruner: Literal["none", "hyperband", "successive_halving", "median", "wilcoxon"] = "none"
    """The pruner, which stops weak trials early."""
    min_frames: Count = 40_000
    """No trial is pruned before it has played so many frames."""
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    """Reduction factor of Hyperband and successive halving."""
    wilcoxon_p: Fraction = 0.1
    """The p value of the Wilcoxon pruner."""
    constraints: ConstraintParameters = ConstraintParameters()
    storage: str | None = None
    """URL of a database, `sqlite:///FILE` from the project's folder; by default a journal file of this machine."""
    heartbeat_seconds: Count = 60
    """If a worker is silent for twice as long, its trial is queued again (database storage only)."""
    workers: Count = 1
    """Workers that this command starts."""
    executor: Literal["local", "ray"] = "local"
    """Run workers as processes of this machine, or as Ray tasks."""
    evidence_seeds: Seeds = (101, 102, 103)
    """Fresh seeds that compare the best trial with the configured values; an empty list skips the comparison."""
    evidence_frames: Count | None = None
    """Frames of each run of that comparison; by default `frames`."""
    confidence: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.96
    """Confidence of that comparison's interval; equal settings are called better in about 2 % of cases [ours]."""
    bootstrap_repetitions: Count = 2_000
    """No effect: that interval is Student's. It stays so that older configurations can be read."""

    @model_validator(mode="after")
    def _seeds_are_fresh(self) -> TuneParameters:
        used = [*self.seeds, *self.leader_seeds]
        for name, seeds in (("seeds and tune.leader_seeds", used), ("evidence_seeds", [*self.evidence_seeds])):
            repeated = [seed for seed in seeds if seeds.count(seed) > 1]
            if repeated:
                raise ValueError(f"tune.{name} hold {repeated[0]} twice: give each seed once")
        if shared := set(used) & set(self.evidence_seeds):
            raise ValueError(f"tune.evidence_seeds must be fresh, but trials learn with {min(shared)}: choose others")
        if not self.seeds:
            raise ValueError("tune.seeds is empty: give at least one, such as [1]")
        return self

    @model_validator(mode="after")
    def _periods_fit(self) -> TuneParameters:
        if self.report_period_frames > self.frames:
            raise ValueError(
                f"tune.report_period_frames={self.report_period_frames} is more than tune.frames={self.frames}: "
                "a trial would report nothing"
            )
        if self.score == "evaluation" and self.checkpoint_period_frames > self.frames:
            raise ValueError(
                f"tune.score=evaluation is measured at checkpoints, and tune.checkpoint_period_frames="
                f"{self.checkpoint_period_frames} is more than tune.frames={self.frames}: make it shorter"
            )
        return self
