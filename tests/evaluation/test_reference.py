"""The reference tables: complete, consistent with the list of games, and equal to the published aggregates."""

import csv
from importlib import resources

import numpy as np
import pytest

from meme57.config.games import rom_ids
from meme57.errors import ConfigurationError
from meme57.evaluation.reference import (
    has_reference,
    published_agents,
    published_scores,
    reference_games,
    reference_score,
)
from meme57.evaluation.statistics import capped_human_normalised, human_normalised


def test_every_spelling_gives_the_same_reference():
    for name in ("Pong", "pong", "ALE/Pong-v5"):
        assert (reference_score(name).random, reference_score(name).human, reference_score(name).record) == (
            -20.7,
            14.6,
            21.0,
        )


def test_there_are_57_games_each_with_a_human_above_random():
    assert len(reference_games()) == 57
    for game in reference_games():
        reference = reference_score(game)
        assert reference.game == game
        assert reference.human > reference.random
        assert reference.record is None or reference.record > reference.random
        assert reference.source


def test_rom_ids_agree_with_the_list_of_games():
    for table in ("reference_scores.csv", "published_scores.csv"):
        text = resources.files("meme57.evaluation").joinpath(table).read_text()
        for row in csv.DictReader(text.splitlines()):
            assert rom_ids()[row["game"]] == row["rom_id"]


def test_records_that_the_source_lacks_are_none():
    assert [game for game in reference_games() if reference_score(game).record is None] == ["Defender", "Surround"]


def test_video_pinball_follows_agent57_and_keeps_the_other_convention():
    assert reference_score("VideoPinball").random == 0.0
    text = resources.files("meme57.evaluation").joinpath("reference_scores.csv").read_text()
    rows = {row["game"]: row for row in csv.DictReader(text.splitlines())}
    assert {game: row["random_elsewhere"] for game, row in rows.items() if row["random_elsewhere"]} == {
        "VideoPinball": "16256.9"
    }


@pytest.mark.parametrize("game", ["ALE/Adventure-v5", "Corridor"])
def test_a_game_without_reference_says_that_scores_are_raw(game):
    assert not has_reference(game)
    with pytest.raises(ConfigurationError, match=r"no reference scores for \w+: scores are reported raw"):
        reference_score(game)


def test_an_unknown_game_is_named_with_its_neighbours():
    with pytest.raises(ConfigurationError, match="Pong"):
        reference_score("Pomg")


@pytest.mark.parametrize("game", ["CartPole-v1", "my_package:Pong-v0", "Pomg"])
def test_no_environment_of_gymnasium_has_a_reference(game):
    assert not has_reference(game)


@pytest.mark.parametrize(
    ("agent", "mean", "median", "capped", "above_human"),
    [
        ("agent57_final", 4766.25, 1933.49, 100.0, 57),  # Agent57, table 1
        ("r2d2_bandit_final", 5461.66, 2357.92, 96.93, 54),  # Agent57, table 1
    ],
)
def test_published_aggregates_follow_from_the_per_game_scores(agent, mean, median, capped, above_human):
    scores = published_scores(agent)
    normalised = 100 * np.array([human_normalised(score, game) for game, score in scores.items()])
    assert len(normalised) == 57
    assert normalised.mean() == pytest.approx(mean, abs=0.05)
    assert np.median(normalised) == pytest.approx(median, abs=0.005)
    assert 100 * np.mean([capped_human_normalised(s, g) for g, s in scores.items()]) == pytest.approx(capped, abs=0.005)
    assert (normalised >= 100).sum() == above_human


def test_an_unknown_agent_is_refused_with_the_known_ones():
    assert "muesli_200M" in published_agents()
    with pytest.raises(ConfigurationError, match="muesli_200M"):
        published_scores("meme")


def test_published_scores_are_a_copy():
    published_scores("muesli_200M").clear()
    assert len(published_scores("muesli_200M")) == 57
