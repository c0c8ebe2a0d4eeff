"""Few tags that people read, all facts in one for programs, and the tags of older releases."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace

import pytest

from meme57.tracking.promotion import PolicyScore
from meme57.tracking.version_tags import FACTS, SCORE, lineage, score_from_tags, shown_score, version_tags

SCORE_OF = PolicyScore(
    mean=0.1 + 0.2, std=1.5, low=-21.0, high=1e-9, episodes=100, protocol="a|b", random_mean=-20.7, random_std=0.5,
    random_episodes=32,
)  # fmt: skip


def older(score: PolicyScore, *left_out: str) -> dict[str, str]:
    """One tag for each fact."""
    facts = {f"meme57.score.{key}": str(value) for key, value in asdict(score).items() if key not in left_out}
    return {**facts, "meme57.seed": "2"}


def test_score_and_lineage_survive_their_tags() -> None:
    tags = version_tags(SCORE_OF, {"seed": "2"})
    assert score_from_tags(tags) == SCORE_OF
    assert lineage(tags) == {"seed": "2"}
    assert tags[SCORE] == "0.3 [-21.0, 0.0], n 100"
    assert set(tags) == {SCORE, FACTS}


def test_games_that_were_cut_are_said() -> None:
    tags = version_tags(replace(SCORE_OF, cut_short=3), {})
    assert tags["meme57.cut_short"] == "3 of 100 games"
    assert score_from_tags(tags) == replace(SCORE_OF, cut_short=3)


def test_one_episode_has_no_interval() -> None:
    alone = replace(SCORE_OF, mean=5.0, low=-math.inf, high=math.inf, episodes=1)
    tags = version_tags(alone, {})
    assert tags[SCORE] == str(shown_score(tags)) == "5.0, n 1"
    assert score_from_tags(tags) == alone


def test_tags_of_older_releases_are_read() -> None:
    assert score_from_tags(older(SCORE_OF, "cut_short")) == SCORE_OF
    assert lineage(older(SCORE_OF))["seed"] == "2"
    assert score_from_tags(older(SCORE_OF, "std")) is None
    assert str(shown_score(older(SCORE_OF, "std"))) == "0.3 [-21.0, 0.0], n 100"


@pytest.mark.parametrize("facts", ["", "[]", '{"score": 5}', json.dumps({"score": {"mean": "many"}})])
def test_facts_that_somebody_edited_are_no_score(facts: str) -> None:
    tags = {**older(SCORE_OF), FACTS: facts}
    assert score_from_tags(tags) is None
    assert str(shown_score(tags)) == "no score"
    assert lineage(tags) == {}


def test_no_tags_are_no_score() -> None:
    assert score_from_tags({}) is None
    assert str(shown_score({})) == "no score"
