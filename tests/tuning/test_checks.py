"""Every kind of bad search space, refused in one line before the first trial."""

from __future__ import annotations

from typing import Any

import pytest

from meme57.config import parse_parameters
from meme57.errors import ConfigurationError
from meme57.tuning.checks import check_study

RATE = {"name": "learner.learning_rate", "type": "log_float", "low": 1e-4, "high": 1e-2}
SWITCH = {"name": "loss.trust_region", "type": "categorical", "choices": [True, False]}
BATCH = {"name": "learner.batch_size", "type": "int", "low": 8, "high": 64}
GAMMA = {"name": "family.gamma_max", "type": "float", "low": 0.98, "high": 0.999}

BAD_SPACES: dict[str, tuple[list[dict[str, Any]], str]] = {
    "empty": ([], "tune.space is empty"),
    "misspelt parameter": ([{**RATE, "name": "learner.learning_rte"}], "did you mean learner.learning_rate?"),
    "misspelt group": ([{**RATE, "name": "lerner.learning_rate"}], "did you mean learner.learning_rate?"),
    "no group": ([{**RATE, "name": "learning_rate"}], "unknown parameter learning_rate"),
    "a group": ([{**RATE, "name": "learner"}], "learner is a group"),
    "no parameter of learning": ([{**RATE, "name": "evaluate.epsilon"}], "does not shape learning"),
    "the seed": ([{**BATCH, "name": "run.seed"}], "does not shape learning"),
    "the task": ([{**BATCH, "name": "env.frame_skip", "low": 2}], "is the task, not the agent"),
    "the game": ([{"name": "env.game", "type": "categorical", "choices": ["Pong", "Krull"]}], "is the task"),
    "a parameter twice": ([RATE, RATE], "is there twice"),
    "unknown type": ([{**RATE, "type": "loguniform"}], "tune.space.0.type='loguniform' is not possible"),
    "unknown key": ([{**RATE, "hihg": 1}], "did you mean tune.space.0.high?"),
    "no name": ([{"type": "int", "low": 1, "high": 2}], "field required"),
    "no low": ([{"name": "learner.learning_rate", "type": "float", "high": 1}], "has no low"),
    "no high": ([{"name": "learner.learning_rate", "type": "float", "low": 1}], "has no high"),
    "low above high": ([{**RATE, "low": 0.1}], "low must be below high"),
    "low equals high": ([{**BATCH, "low": 64}], "low must be below high"),
    "text for a bound": ([{**RATE, "low": "small"}], "tune.space.0.low='small' is not possible"),
    "logarithm of 0": ([{**RATE, "low": 0}], "begins above 0"),
    "logarithm of a negative": ([{**RATE, "low": -1}], "begins above 0"),
    "log_int below 1": ([{**BATCH, "type": "log_int", "low": 0}], "begins above 0, for int at 1"),
    "a step in a logarithmic range": ([{**RATE, "step": 1e-4}], "leave step out"),
    "a step of 0": ([{**BATCH, "step": 0}], "has step=0"),
    "a step that misses the end": ([{**BATCH, "step": 10}], "steps must lead from low=8 to high=64"),
    "fractions of a whole number": ([{**BATCH, "low": 8.5}], "type int takes whole numbers"),
    "float for a whole parameter": ([{**BATCH, "type": "float"}], "learner.batch_size="),
    "a number for a switch": ([{"name": "loss.trust_region", "type": "int", "low": 0, "high": 1}], "take type: categ"),
    "a number for a word": ([{"name": "network.torso", "type": "int", "low": 0, "high": 1}], "take type: categorical"),
    "choices in a range": ([{**RATE, "choices": [1, 2]}], "leave choices out"),
    "a range of choices": ([{**SWITCH, "low": 0}], "leave low, high and step out"),
    "no choices": ([{"name": "loss.trust_region", "type": "categorical"}], "has 0 choices"),
    "one choice": ([{**SWITCH, "choices": [True]}], "has 1 choices"),
    "a choice twice": ([{**SWITCH, "choices": [True, True]}], "the same choice twice"),
    "an impossible choice": (
        [{"name": "network.torso", "type": "categorical", "choices": ["small", "resnet"]}],
        "network.torso='resnet' is not possible",
    ),
    "an end outside the parameter's limits": ([{**GAMMA, "high": 1.0}], "family.gamma_max=1.0 is not possible"),
    "a low end outside the limits": ([{**RATE, "type": "float", "low": -1e-3}], "learner.learning_rate=-0.001"),
    "ends that contradict a configured value": ([{**GAMMA, "low": 0.5}], "is above family.gamma_max=0.5"),
    "ranges that contradict each other": (
        [GAMMA, {"name": "family.gamma_min", "type": "float", "low": 0.9, "high": 0.99}],
        "family.gamma_min=0.99 is above family.gamma_max=0.98",
    ),
    "a condition on nothing": ([{**RATE, "when": {"loss.trust_region": True}}], "is not above it in the space"),
    "a condition on a later one": ([{**RATE, "when": {"loss.trust_region": True}}, SWITCH], "is not above it"),
    "a condition on an impossible value": (
        [SWITCH, {**RATE, "when": {"loss.trust_region": "yes"}}],
        "which is none of its choices",
    ),
    "a condition on a range": ([BATCH, {**RATE, "when": {"learner.batch_size": 8}}], "which is none of its choices"),
}
BAD_STUDIES: dict[str, tuple[dict[str, Any], str]] = {
    "unknown game": ({"games": ["Pnog"]}, "did you mean Pong"),
    "a game twice": ({"games": ["Pong", "ALE/Pong-v5"]}, "names a game twice"),
    "a game without human score among others": ({"games": ["Pong", "Corridor"]}, "Corridor has no human score"),
    "seeds twice": ({"seeds": [1, 1]}, "hold 1 twice"),
    "no seeds": ({"seeds": []}, "tune.seeds is empty"),
    "evidence on used seeds": ({"seeds": [7], "evidence_seeds": [7, 8]}, "must be fresh"),
    "evidence on the leader's seeds": ({"leader_seeds": [8], "evidence_seeds": [8]}, "must be fresh"),
    "nothing to report": ({"frames": 1_000}, "a trial would report nothing"),
    "no evaluation within a trial": (
        {"score": "evaluation", "frames": 50_000, "checkpoint_period_frames": 60_000},
        "tune.score=evaluation is measured at checkpoints",
    ),
    "two pairs for a Wilcoxon test": ({"pruner": "wilcoxon", "seeds": [1, 2]}, "give at least 3 in all"),
    "a study outside its folder": ({"study": "../elsewhere"}, "tune.study='../elsewhere' is not possible"),
    "unknown sampler": ({"sampler": "cmaes"}, "tune.sampler='cmaes' is not possible"),
}


def test_a_trial_does_not_play_on_ray() -> None:
    tree = {"actors": {"pool": "ray"}, "env": {"game": "Pong"}, "tune": {"space": [RATE]}}
    with pytest.raises(ConfigurationError, match=r"actors\.pool=local; tune\.executor=ray spreads"):
        check_study(parse_parameters(tree))
    assert "its own process" in refusal(
        {"space": [{"name": "actors.pool", "type": "categorical", "choices": ["local", "ray"]}]}
    )


def refusal(tune: dict[str, Any]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        check_study(parse_parameters({"env": {"game": "Pong"}, "tune": tune}))
    return str(caught.value)


@pytest.mark.parametrize("name", BAD_SPACES)
def test_a_bad_space_is_refused_in_one_line(name: str) -> None:
    space, words = BAD_SPACES[name]
    line = refusal({"space": space})
    assert words in line
    assert "\n" not in line
    assert len(line) < 260


@pytest.mark.parametrize("name", BAD_STUDIES)
def test_a_bad_study_is_refused_in_one_line(name: str) -> None:
    tune, words = BAD_STUDIES[name]
    line = refusal({"space": [RATE], **tune})
    assert words in line
    assert "\n" not in line


def test_several_games_that_are_cut_are_refused_in_one_line() -> None:
    env = {"game": "Pong", "max_episode_frames": 600}
    with pytest.raises(ConfigurationError) as caught:
        check_study(parse_parameters({"env": env, "tune": {"space": [RATE], "games": ["Pong", "Asterix"]}}))
    assert "env.max_episode_frames=600 cuts games" in str(caught.value)
    assert "`--params tune.games=[Pong]` tunes one" in str(caught.value)
    assert "\n" not in str(caught.value)
    check_study(parse_parameters({"env": env, "tune": {"space": [RATE], "games": ["Asterix"]}}))
    check_study(parse_parameters({"tune": {"space": [RATE], "games": ["Pong", "Asterix"]}}))


def test_a_good_space_passes() -> None:
    space = [
        RATE,
        {**SWITCH, "name": "loss.normalise_td"},
        SWITCH,
        {"name": "loss.trust_region_alpha", "type": "float", "low": 1, "high": 5, "when": {"loss.trust_region": True}},
        {**BATCH, "type": "log_int"},
        {"name": "family.num_policies", "type": "int", "low": 2, "high": 16, "step": 2},
        {"name": "network.small_channels", "type": "categorical", "choices": [[16, 32], [32, 64]]},
        {"name": "loss.lambda", "type": "float", "low": 0.8, "high": 1.0, "step": 0.05},
    ]
    check_study(parse_parameters({"env": {"game": "Pong"}, "tune": {"space": space}}))
