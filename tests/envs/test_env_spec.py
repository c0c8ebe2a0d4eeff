"""Specs: through JSON and back, whole protocol inside, unknown games refused by name."""

from __future__ import annotations

import dataclasses
import json

import pytest

from meme57.config.groups import EnvParameters
from meme57.envs import EnvSpec, env_spec
from meme57.errors import ConfigurationError, EnvironmentSetupError


@pytest.mark.parametrize("game", ["Corridor", "MontezumaRevenge"])
def test_json_round_trip(make_spec, game: str) -> None:
    spec = make_spec(game, sticky_action_probability=0.25, full_action_space=False)
    back = EnvSpec.from_json(json.loads(json.dumps(spec.to_json())))
    assert back == spec
    assert hash(back) == hash(spec)


def test_every_protocol_parameter_reaches_the_spec(make_spec) -> None:
    other = {
        "height": 40, "width": 30, "full_action_space": False, "sticky_action_probability": 0.1, "frame_skip": 3,
        "max_pool": False, "noop_max": 7, "max_episode_frames": 999,
    }  # fmt: skip
    base = make_spec("Pong")
    for name, value in other.items():
        spec = make_spec("Pong", **{name: value})
        assert getattr(spec, name) == value
        assert spec != base
    fields = {field.name for field in dataclasses.fields(EnvSpec)}
    assert fields == {*other, "game", "rom_id", "num_actions", "action_meanings", "frame_dtype", "gymnasium"}


@pytest.mark.parametrize("name", ["pong", "Pong", "ALE/Pong-v5", "Pong-v5", " PONG "])
def test_a_game_has_many_spellings(name: str) -> None:
    assert env_spec(EnvParameters(game=name)).rom_id == "pong"


def test_unknown_game_is_refused_with_near_names() -> None:
    from meme57.config import parse_parameters

    with pytest.raises(ConfigurationError, match=r"'Pongg' is not a known game: did you mean Pong") as caught:
        parse_parameters({"env": {"game": "Pongg"}})
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:Rom no_such_game")
def test_a_rom_that_does_not_load_says_what_to_install() -> None:
    from meme57.envs.atari import action_meanings

    with pytest.raises(EnvironmentSetupError, match=r"(?s)no_such_game.*pip install") as caught:
        action_meanings("no_such_game", full_action_space=False)
    assert "\n" not in str(caught.value)
