"""The reference tables: complete, consistent with the list of games, and equal to the published aggregates."""

import csv
from importlib import resources

import pytest

from meme57.config.games import rom_ids
from meme57.errors import ConfigurationError
from meme57.evaluation.reference import (
    has_reference,
    reference_games,
    reference_score,
)


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
    text = resources.files("meme57.evaluation").joinpath("reference_scores.csv").read_text()
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
