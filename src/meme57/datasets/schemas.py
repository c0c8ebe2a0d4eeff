"""What the JSON files of a run must hold for the nodes that read them; the catalog names these by `schema`.

More entries than these are welcome: what a newer version adds is no damage.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel, model_validator

from meme57.agent.bounds import Count, Finite, Whole


class _Stored(BaseModel):
    """Text is no number: nodes get what is in the file."""

    model_config = ConfigDict(strict=True)


Interval = Annotated[list[Finite], Field(min_length=2, max_length=2)]
Scalar = str | bool | int | Finite | None


class Hardware(RootModel[dict[str, Scalar]]):
    """What the run had to work with."""

    model_config = ConfigDict(strict=True)


class Fidelity(RootModel[dict[str, Finite | dict[str, str]]]):
    """What the student weighs and how faithful it is, and the checkpoint that it is of."""

    model_config = ConfigDict(strict=True)


class _Mean(_Stored):
    mean: Finite
    interval: Interval | None


class _Summary(_Mean):
    std: Finite
    iqm: Finite
    episodes: Count
    human_normalised: _Mean | None


class _Change(_Stored):
    evaluation: Any
    training: Any


class _Protocol(_Stored):
    name: str
    protocol: str | None = None
    departures: list[str] = []
    changed_since_training: dict[str, _Change] = {}

    @model_validator(mode="after")
    def _a_named_one_says_how_it_departs(self) -> _Protocol:
        told = {"protocol", "departures", "changed_since_training"} & self.model_fields_set
        if len(told) not in (0, 3):
            raise ValueError(f"{', '.join(sorted(told))} alone says too little")
        return self


class _Reference(_Stored):
    random: Finite
    human: Finite
    record: Finite | None
    source: str


class Scores(_Stored):
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


class _Version(_Stored):
    model: str
    version: str
    champion: bool
    reason: str


class ModelVersions(RootModel[dict[str, _Version]]):
    """What became of the policies in the registry."""

    model_config = ConfigDict(strict=True)


class _Best(_Stored):
    trial: Whole
    score: Finite
    values: dict[str, Any]


class StudyRecord(_Stored):
    """A study and its trials."""

    study: str
    fingerprint: str
    games: list[str]
    score: str
    metric: str
    frames: Whole
    best: _Best
    trials: list[dict[str, Any]]


class MemberNote(_Stored):
    """What a suite keeps of a member that is done."""

    scores: Scores
    curve: list[dict[str, Finite]]


class _Member(_Stored):
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


class SuiteRecord(_Stored):
    """A suite and its members."""

    suite: str
    variants: list[str]
    games: list[str]
    seeds: list[int]
    members: list[_Member]
