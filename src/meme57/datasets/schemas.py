"""What the JSON files of a run must hold for the nodes that read them; the catalog names these by `schema`.

More entries than these are welcome: what a newer version adds is no damage.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, RootModel, model_validator

from meme57.config.fields import Count, Finite, Whole

Interval = tuple[Finite, Finite]
Scalar = str | bool | int | Finite | None


class Hardware(RootModel[dict[str, Scalar]]):
    """What the run had to work with."""


class Fidelity(RootModel[dict[str, Finite | dict[str, str]]]):
    """What the student weighs and how faithful it is, and the checkpoint that it is of."""


class _Mean(BaseModel):
    mean: Finite
    interval: Interval | None


class _Summary(_Mean):
    std: Finite
    iqm: Finite
    episodes: Count
    human_normalised: _Mean | None


class _Change(BaseModel):
    evaluation: Any
    training: Any


class _Protocol(BaseModel):
    name: str
    protocol: str | None = None
    departures: list[str] = []
    changed_since_training: dict[str, _Change] = {}


class _Reference(BaseModel):
    random: Finite
    human: Finite
    record: Finite | None
    source: str


class Scores(BaseModel):
    """What `evaluate` found."""

    run: str
    game: str
    frames: Annotated[int, Field(ge=0, lt=2**63)]
    confidence: Finite
    protocol: _Protocol
    agents: dict[str, _Summary]
    reference: _Reference | None

    @model_validator(mode="after")
    def _everybody_is_there(self) -> Scores:
        if missing := {"random", "teacher", "student"} - set(self.agents):
            raise ValueError(f"agents lacks {', '.join(sorted(missing))}")
        return self


class _Version(BaseModel):
    model: str
    version: str
    champion: bool
    reason: str


class ModelVersions(RootModel[dict[str, _Version]]):
    """What became of the policies in the registry."""


class _Best(BaseModel):
    trial: Whole
    score: Finite
    values: dict[str, Any]


class StudyRecord(BaseModel):
    """A study and its trials."""

    study: str
    fingerprint: str
    games: list[str]
    score: str
    metric: str
    frames: Whole
    best: _Best
    trials: list[dict[str, Any]]


class _Member(BaseModel):
    name: str
    game: str
    seed: int
    variant: str
    state: Literal["done", "failed"]
    error: str | None
    scores: Scores | None = None
    curve: list[dict[str, Finite]] | None = None

    @model_validator(mode="after")
    def _who_is_done_has_scores(self) -> _Member:
        if self.state == "done" and (self.scores is None or self.curve is None):
            raise ValueError(f"member {self.name} is done and has no scores or no curve")
        return self


class SuiteRecord(BaseModel):
    """A suite and its members."""

    suite: str
    variants: list[str]
    games: list[str]
    seeds: list[int]
    members: list[_Member]
