"""The tags of a registered version: few that people read, and one that holds all facts for programs.

Older releases wrote a tag for each fact (`meme57.score.mean`, `meme57.seed`); those are still read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from meme57.tracking.promotion import PolicyScore

SCORE = "meme57.score"
"""The score in words."""
FACTS = "meme57.facts"
"""JSON: `score`, the fields of `PolicyScore` as text, and `lineage`."""
PROTOCOL, RUN, FRAMES, CUT_SHORT = "meme57.protocol", "meme57.run", "meme57.frames", "meme57.cut_short"
EARLIER_SCORE, EARLIER = "meme57.score.", "meme57."
READERS: dict[str, Any] = {"episodes": int, "random_episodes": int, "protocol": str, "cut_short": int}


@dataclass(frozen=True)
class VersionScore:
    """The score of a version, as far as its tags have it."""

    mean: float | None = None
    low: float | None = None
    high: float | None = None
    episodes: int | None = None

    def __str__(self) -> str:
        if self.mean is None:
            return "no score"
        n = "" if self.episodes is None else f", n {self.episodes}"
        return f"{self.mean:,.1f}{self._interval()}{n}"

    def _interval(self) -> str:
        return "" if self.low is None or self.high is None else f" [{self.low:,.1f}, {self.high:,.1f}]"


def version_tags(score: PolicyScore, lineage: Mapping[str, str]) -> dict[str, str]:
    """Write the score and the lineage as tags of a version."""
    facts = {"score": {key: str(value) for key, value in asdict(score).items()}, "lineage": dict(lineage)}
    words = VersionScore(score.mean, _finite(score.low), _finite(score.high), score.episodes)
    cut = {CUT_SHORT: f"{score.cut_short} of {score.episodes} games"} if score.cut_short else {}
    return {SCORE: str(words), **cut, FACTS: json.dumps(facts)}


def score_from_tags(tags: Mapping[str, str]) -> PolicyScore | None:
    """Read the score that the champion rule compares; None if there is none, or it has no `std` (older releases)."""
    known = {"cut_short": "0", **_score_facts(tags)}  # older releases did not count them
    try:
        return PolicyScore(
            **{field.name: READERS.get(field.name, float)(known[field.name]) for field in fields(PolicyScore)}
        )
    except (KeyError, ValueError):
        return None


def shown_score(tags: Mapping[str, str]) -> VersionScore:
    """Read the score to show it; an older release may lack parts of it."""
    known = _score_facts(tags)
    try:
        low, high = (_finite(float(known[name])) if name in known else None for name in ("low", "high"))
        episodes = int(known["episodes"]) if "episodes" in known else None
        return VersionScore(float(known["mean"]), low, high, episodes)
    except (KeyError, ValueError):
        return VersionScore()


def lineage(tags: Mapping[str, str]) -> dict[str, str]:
    """Read where a version comes from: seed, frames, checkpoint, digests."""
    if FACTS in tags:
        return _facts(tags).get("lineage", {})
    return {key.removeprefix(EARLIER): value for key, value in tags.items() if key.startswith(EARLIER)}


def _score_facts(tags: Mapping[str, str]) -> dict[str, str]:
    if FACTS in tags:
        return _facts(tags).get("score", {})
    return {key.removeprefix(EARLIER_SCORE): value for key, value in tags.items() if key.startswith(EARLIER_SCORE)}


def _facts(tags: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Parse the facts; empty where somebody edited them into something else."""
    try:
        facts = json.loads(tags[FACTS])
    except ValueError:
        return {}
    is_ours = isinstance(facts, dict) and all(isinstance(part, dict) for part in facts.values())
    return facts if is_ours else {}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
