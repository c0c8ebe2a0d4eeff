"""The whole tree of parameters; one frozen root model validates it before anything runs."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field, model_validator

from meme57.agent.parameters import NetworkParameters, NoveltyParameters
from meme57.config.fields import Group, joined, operational_names
from meme57.config.games import file_name
from meme57.config.groups import (
    ActorParameters,
    BanditParameters,
    DistillParameters,
    EnvParameters,
    EvaluateParameters,
    FamilyParameters,
    LearnerParameters,
    LossParameters,
    RayParameters,
    RegisterParameters,
    ReplayParameters,
    RunParameters,
    TrackingParameters,
)
from meme57.config.labels import digest
from meme57.config.suite import SuiteParameters
from meme57.config.tree import plain, without
from meme57.config.tuning import TuneParameters

LONGEST_STUDY = 200
"""Length of a study's default name. A given name must be shorter; but studies of many games exist already."""


class Parameters(Group):
    """The whole tree."""

    run: RunParameters = RunParameters()
    env: EnvParameters = EnvParameters()
    family: FamilyParameters = FamilyParameters()
    network: NetworkParameters = NetworkParameters()
    loss: LossParameters = LossParameters()
    novelty: NoveltyParameters = NoveltyParameters()
    bandit: BanditParameters = BanditParameters()
    replay: ReplayParameters = ReplayParameters()
    actors: ActorParameters = ActorParameters()
    ray: RayParameters = RayParameters()
    learner: LearnerParameters = LearnerParameters()
    distill: DistillParameters = DistillParameters()
    evaluate: EvaluateParameters = EvaluateParameters()
    register_: RegisterParameters = Field(default=RegisterParameters(), alias="register")
    tracking: TrackingParameters = TrackingParameters()
    tune: TuneParameters = TuneParameters()
    suite: SuiteParameters = SuiteParameters()

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @model_validator(mode="after")
    def _gammas_are_ordered(self) -> Parameters:
        if self.family.gamma_min > self.family.gamma_max:
            raise ValueError(
                f"family.gamma_min={self.family.gamma_min} is above family.gamma_max={self.family.gamma_max}"
            )
        return self

    @model_validator(mode="after")
    def _a_temperature_has_a_policy(self) -> Parameters:
        for name, temperature in (("actors", self.actors.temperature), ("evaluate", self.evaluate.temperature)):
            if temperature and not self.loss.distil_policy:
                raise ValueError(
                    f"{name}.temperature={temperature:g} draws from the distilled policy, and "
                    "loss.distil_policy=false leaves it untrained: set one of the two back"
                )
        return self

    @model_validator(mode="after")
    def _kept_noise_has_a_use(self) -> Parameters:
        if self.actors.noise_steps == 1:
            return self
        if not self.actors.temperature:
            raise ValueError(
                f"actors.noise_steps={self.actors.noise_steps} keeps the noise of drawn actions, and with "
                "actors.temperature=0 none are drawn: set one of the two"
            )
        if self.loss.target == "retrace":
            raise ValueError(
                f"loss.target=retrace needs the probabilities of the actions, and with actors.noise_steps="
                f"{self.actors.noise_steps} they are not known: take another target, or actors.noise_steps=1"
            )
        return self

    @model_validator(mode="after")
    def _the_bandit_remembers_every_policy(self) -> Parameters:
        if self.bandit.enabled and self.bandit.window < self.family.num_policies:
            raise ValueError(
                f"bandit.window={self.bandit.window} is less than family.num_policies={self.family.num_policies}: some "
                "policy would always be untried, and nothing else played; raise bandit.window"
            )
        return self

    @model_validator(mode="after")
    def _frames_fit_the_torso(self) -> Parameters:
        from meme57.agent.torso import KNOWN_NAMES, TORSOS, is_class_path

        name, (height, width) = self.network.torso, (self.env.height, self.env.width)
        if is_class_path(name):  # nothing is imported to look at a configuration
            return self
        if name not in TORSOS:
            raise ValueError(f"network.torso={name!r} is not possible: choose one of {KNOWN_NAMES}")
        if min(height, width) < (smallest := TORSOS[name].smallest):
            raise ValueError(
                f"network.torso={name} needs frames of {smallest}x{smallest} at least, not {height}x{width}: "
                "choose network.torso=small or larger env.height and env.width"
            )
        return self

    @model_validator(mode="after")
    def _every_worker_has_environments(self) -> Parameters:
        if self.actors.pool == "ray" and self.ray.workers > self.env.num_envs:
            raise ValueError(
                f"ray.workers={self.ray.workers} is more than env.num_envs={self.env.num_envs}: an actor would have "
                "nothing to play; raise env.num_envs, which counts all actors' environments together"
            )
        return self

    @property
    def run_name(self) -> str:
        """The run's name: `run.name`, by default `<game>-s<seed>`."""
        return self.run.name or f"{file_name(self.env.game)}-s{self.run.seed}"

    @property
    def same_command(self) -> str:
        """How a message that asks for the same command says it: with `run.fresh` it would begin the run again."""
        return "the same command without run.fresh" if self.run.fresh else "the same command"

    @property
    def study_name(self) -> str:
        """The study's name: `tune.study`, by default the names of its games."""
        return self.tune.study or joined(map(file_name, self.tune_games), LONGEST_STUDY)

    @property
    def suite_name(self) -> str:
        """The suite's name: `suite.name`, by default the name of its list, or its games."""
        games = self.suite.games
        return self.suite.name or (games if isinstance(games, str) else joined(map(file_name, games)))

    @property
    def tune_games(self) -> tuple[str, ...]:
        """The games that trials play: `tune.games`, by default the run's."""
        return self.tune.games or (self.env.game,)

    def tree(self) -> dict[str, Any]:
        """Return every value as JSON stores it; infinity is text."""
        return plain(self.model_dump(mode="json", by_alias=True))

    def configuration(self) -> dict[str, Any]:
        """Collect everything that shapes learning; the run's length, logging and operational settings do not."""
        tree = without(self.tree(), OPERATIONAL_NAMES)
        learning: dict[str, Any] = {key: tree[key] for key in LEARNING_GROUPS}
        learning["seed"] = self.run.seed
        learning["exact_resume"] = self.run.exact_resume
        if self.run.init_from is not None:
            learning["init_from"] = self.run.init_from
        if self.run.exact_resume:
            learning["checkpoint_period_frames"] = self.run.checkpoint_period_frames
        return learning

    def fingerprint(self) -> str:
        """Compute a short label of `configuration()`; comparisons use the configurations themselves."""
        return digest(self.configuration())


LEARNING_GROUPS = ("env", "family", "network", "loss", "novelty", "bandit", "replay", "actors", "learner")
"""Groups that shape learning."""
OPERATIONAL_NAMES = operational_names(Parameters)
"""Parameters that are no part of any identity."""
