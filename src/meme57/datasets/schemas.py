"""What a run's JSON files must contain for the nodes that read them; the catalog names these classes by `schema`.

A file may have more entries than these, since a newer version may add some.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel, model_validator

from meme57.agent.bounds import Count, Finite, Whole


class _Stored(BaseModel):
    """A model that converts nothing: a text is never read as a number."""

    model_config = ConfigDict(strict=True)


Interval = Annotated[list[Finite], Field(min_length=2, max_length=2)]
Number = Annotated[int, Field(ge=0, lt=2**63)]
Scalar = str | bool | int | Finite | None


class Hardware(RootModel[dict[str, Scalar]]):
    """The machine that the run had."""

    model_config = ConfigDict(strict=True)


class Fidelity(BaseModel):
    """The student's cost and fidelity as numbers, with the checkpoint and the student that they describe."""

    model_config = ConfigDict(strict=True, extra="allow")
    __pydantic_extra__: dict[str, Finite] = Field(init=False)

    source: dict[str, str] | None = None
    student_sha256: str | None = None


class PolicyFamilyRecord(_Stored):
    """Discount and intrinsic weight of every policy."""

    gammas: list[Finite]
    betas: list[Finite]


class InitialPolicy(_Stored):
    """The policy whose weights a run began with; nothing without `run.init_from`."""

    source: str | None = None
    game: str | None = None
    checkpoint: str | None = None
    sha256: str | None = None
    """Checksum of its manifest."""
    files: dict[str, str] = {}
    """File name -> SHA-256."""


class EstimateRecord(RootModel[dict[str, dict[str, Number | None]]]):
    """Bytes by part, and the free bytes of the machine if it reports them."""

    model_config = ConfigDict(strict=True)


class SeedReplayRecord(_Stored):
    """What `collect` played; the code that reads the replay checks the other entries."""

    game: str
    frames: Number
    steps: Number
    sequences: Number
    sha256: str
    settings: dict[str, Any] | None = None
    mean_return: Finite | None = None


class _Mean(_Stored):
    mean: Finite
    interval: Interval | None


class _Summary(_Mean):
    std: Finite
    iqm: Finite
    episodes: Count
    cut_short: Whole = 0
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
        present = {"protocol", "departures", "changed_since_training"} & self.model_fields_set
        if len(present) not in (0, 3):
            raise ValueError(f"{', '.join(sorted(present))} alone is not enough")
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
    frames: Number
    confidence: Finite
    protocol: _Protocol
    cut_at: Count | None = None
    agents: dict[str, _Summary]
    reference: _Reference | None

    @model_validator(mode="after")
    def _everybody_is_there(self) -> Scores:
        if missing := {"random", "teacher"} - set(self.agents):  # a run without a student has none
            raise ValueError(f"agents lacks {', '.join(sorted(missing))}")
        return self


class _Version(_Stored):
    model: str
    version: str
    champion: bool
    reason: str


class ModelVersions(RootModel[dict[str, _Version]]):
    """The registered versions of the policies, by agent."""

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
    cut_at: Count | None = None
    metric: str
    frames: Whole
    best: _Best
    trials: list[dict[str, Any]]


class _Side(_Stored):
    mean: Finite
    scores: dict[str, Finite]


class _Difference(_Stored):
    mean: Finite
    interval: Interval | None
    confidence: Finite


class Evidence(_Stored):
    """The tuned values compared with the configured ones on fresh seeds."""

    frames: Whole
    seeds: list[int]
    configured: _Side
    tuned: _Side
    difference: _Difference
    verdict: str


class _Nothing(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class StudyEvidence(RootModel[Evidence | _Nothing]):
    """The evidence of a study; empty if no fresh seeds were configured."""


class TunedEvidence(_Stored):
    """The file beside the parameters that a study wrote."""

    study: str
    fingerprint: str
    games: list[str]
    frames: Whole
    best: _Best
    evidence: Evidence | None


class MemberNote(_Stored):
    """What a suite stores about a member that is done."""

    scores: Scores
    curve: list[dict[str, Finite]]


class _Member(_Stored):
    name: str
    game: str
    seed: int
    variant: str
    state: Literal["done", "failed", "missing"]
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


class _Statistic(_Stored):
    value: Finite
    interval: Interval | None


class _Aggregates(_Stored):
    runs: Whole
    games: Whole
    above_human: Whole
    statistics: dict[str, _Statistic]


class _Comparison(_Stored):
    variant: str
    against: str
    agent: str
    games: Whole
    runs: list[Whole]
    reason: str | None = None
    probability: Finite | None = None
    interval: Interval | None = None

    @model_validator(mode="after")
    def _a_probability_or_the_reason_why_not(self) -> _Comparison:
        if (self.reason is None) == (self.probability is None):
            raise ValueError("a probability or a reason belongs here")
        return self


class _GameScore(_Stored):
    mean: Finite
    runs: Whole | None
    interval: Interval | None


class _Column(_Stored):
    games: dict[str, _GameScore]
    over_games: dict[str, Finite | None] | None


class _AgentFacts(_Stored):
    name: str
    frames: Whole | None
    sticky: Finite | None
    measure: str
    source: str
    note: str


class _Published(_Stored):
    variant: str
    missing: list[str]
    columns: dict[str, _Column]
    agents: dict[str, _AgentFacts]


class SuiteScores(_Stored):
    """What a suite found over games and seeds."""

    confidence: Finite
    games: list[str]
    without_reference: list[str]
    protocols: list[str]
    notes: list[str]
    aggregates: dict[str, dict[str, _Aggregates]]
    comparisons: list[_Comparison]
    published: _Published | None = None
