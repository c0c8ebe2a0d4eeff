"""Protocols are data: each sets what it says, keeps what is the agent's, and says where it departs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meme57.config import parse_parameters
from meme57.envs import EnvSpec, env_spec
from meme57.evaluation.protocol import RandomPolicy, play_episodes, protocol_facts, protocol_name
from meme57.evaluation.protocols import (
    PROTOCOLS,
    changed_settings,
    cut_at,
    departures,
    evaluation_spec,
    protocol_label,
)


@pytest.fixture(scope="module")
def laptop() -> EnvSpec:
    """Trained on the minimal action set, at 48x48, with short episodes."""
    chosen = {"game": "Pong", "height": 48, "width": 48, "full_action_space": False, "max_episode_frames": 600}
    return env_spec(parse_parameters({"env": chosen}).env)


@pytest.fixture(scope="module")
def full() -> EnvSpec:
    return env_spec(parse_parameters({"env": {"game": "Pong"}}).env)


def test_as_trained_changes_nothing(laptop: EnvSpec) -> None:
    assert evaluation_spec(laptop, "as_trained") == laptop
    assert departures(laptop, "as_trained") == []


def test_sticky_is_machados(full: EnvSpec) -> None:
    spec = evaluation_spec(full, "sticky")
    assert (spec.sticky_action_probability, spec.noop_max, spec.frame_skip) == (0.25, 0, 4)
    assert (spec.max_episode_frames, spec.num_actions) == (108_000, 18)
    assert departures(full, "sticky") == []


def test_noop30_and_paper(full: EnvSpec) -> None:
    trained = replace(full, sticky_action_probability=0.25, noop_max=0, max_episode_frames=18_000)
    for name in ("noop30", "paper"):
        spec = evaluation_spec(trained, name)
        assert (spec.sticky_action_probability, spec.noop_max, spec.max_episode_frames) == (0.0, 30, 108_000)
        assert departures(trained, name) == []
    assert evaluation_spec(full, "paper") == full  # the defaults are the paper's


def test_what_is_the_agents_stays_and_is_named(laptop: EnvSpec) -> None:
    for name in PROTOCOLS:
        spec = evaluation_spec(laptop, name)
        assert (spec.height, spec.width, spec.action_meanings) == (48, 48, laptop.action_meanings)
    assert departures(laptop, "noop30") == []
    assert departures(laptop, "sticky") == ["6 actions (the minimal set), the protocol has 18"]
    assert "image 48x48, the protocol has 210x160" in departures(laptop, "paper")
    assert protocol_label("sticky", departures(laptop, "sticky")) == "sticky*"
    assert protocol_label("noop30", []) == "noop30"


def test_a_result_says_what_training_had_otherwise(laptop: EnvSpec) -> None:
    facts = protocol_facts(laptop, protocol="sticky", episodes=100, seed=1, epsilon=0.0)
    assert facts["protocol"] == "sticky"
    assert facts["changed_since_training"] == {
        "sticky_action_probability": {"training": 0.0, "evaluation": 0.25},
        "noop_max": {"training": 30, "evaluation": 0},
        "max_episode_frames": {"training": 600, "evaluation": 108_000},
    }
    assert facts["sticky_action_probability"] == 0.25
    assert facts["name"] == protocol_name(evaluation_spec(laptop, "sticky"), epsilon=0.0)
    assert facts["name"] != protocol_name(laptop, epsilon=0.0)  # so that the registry does not compare them
    assert changed_settings(laptop, laptop) == {}


def test_a_built_in_game_has_the_rules_of_training() -> None:
    spec = env_spec(parse_parameters({"env": {"game": "Corridor", "height": 16, "width": 16}}).env)
    assert evaluation_spec(spec, "sticky") == spec
    assert departures(spec, "sticky") == ["Corridor is no Atari game: same rules as in training"]


def test_sticky_actions_reach_the_emulator() -> None:
    """The same policy and seed play another game once actions stick."""
    trained = env_spec(parse_parameters({"env": {"game": "MsPacman", "height": 48, "width": 48}}).env)
    short = replace(evaluation_spec(trained, "sticky"), max_episode_frames=1_200)
    plain = replace(short, sticky_action_probability=0.0)

    def returns(spec: EnvSpec) -> list[tuple[float, int]]:
        played = play_episodes(
            lambda n: RandomPolicy(n, spec.num_actions, seed=3), spec, episodes=4, num_envs=4, seed=9
        )
        return [(episode.extrinsic_return, episode.num_steps) for episode in played]

    assert returns(short) == returns(short)
    assert returns(short) != returns(plain)


def test_games_shorter_than_those_of_published_scores_are_cut(laptop: EnvSpec) -> None:
    assert cut_at(laptop) == 600
    assert cut_at(replace(laptop, max_episode_frames=108_000)) is None
    assert cut_at(evaluation_spec(laptop, "sticky")) is None  # it prescribes 30 minutes
    assert cut_at(env_spec(parse_parameters({"env": {"game": "Corridor", "max_episode_frames": 160}}).env)) is None
