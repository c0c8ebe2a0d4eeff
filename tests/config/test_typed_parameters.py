"""The tree: one clear line for each fault, the paper's defaults, and what the fingerprint covers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from meme57.agent.torso import TORSOS
from meme57.config import Parameters, parse_parameters
from meme57.config.parameters import LEARNING_GROUPS, OPERATIONAL_NAMES
from meme57.config.tree import assign, look_up
from meme57.errors import ConfigurationError
from meme57.evaluation.ranking import CHECKPOINT_EVALUATION_SEED
from meme57.learning.distillation import OWN_PLAY_SEED


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"env": {"gaem": "Pong"}}, r"unknown parameter env\.gaem: did you mean env\.game\?"),
        ({"evn": {}}, r"unknown parameter evn: did you mean env\?"),
        ({"zzzzzz": {}}, r"unknown parameter zzzzzz: known here: run, env, family"),
        ({"loss": {"lamda": 0.9}}, r"unknown parameter loss\.lamda: did you mean loss\.lambda\?"),
        ({"register": {"margn": 1}}, r"unknown parameter register\.margn: did you mean register\.margin\?"),
        ({"env": {"game": "Pongg"}}, r"env\.game='Pongg' is not a known game: did you mean Pong"),
        ({"env": {"num_envs": 0}}, r"env\.num_envs=0 is not possible: input should be greater than or equal to 1\."),
        ({"env": {"num_envs": "many"}}, r"env\.num_envs='many' is not possible: input should be a valid integer"),
        ({"env": {"height": 8}}, r"env\.height=8 is not possible"),
        ({"env": {"noop_max": 31}}, r"env\.noop_max=31 is not possible"),
        ({"env": 3}, r"env=3 is not possible: input should be a valid dictionary"),
        ({"env": None}, r"env=None is not possible"),
        ({"loss": {"lambda": 1.5}}, r"loss\.lambda=1\.5 is not possible"),
        ({"loss": {"kappa": -0.1}}, r"loss\.kappa=-0\.1 is not possible"),
        ({"loss": {"kappa": math.nan}}, r"loss\.kappa=nan is not possible"),
        ({"loss": {"target": "vtrace"}}, r"loss\.target='vtrace' is not possible: .*'soft_watkins'"),
        ({"learner": {"learning_rate": math.inf}}, r"learner\.learning_rate=inf is not possible"),
        ({"learner": {"learning_rate": 0}}, r"learner\.learning_rate=0 is not possible"),
        ({"family": {"gamma_max": 1.0}}, r"family\.gamma_max=1\.0 is not possible"),
        ({"family": {"gamma_max": 0.5, "gamma_min": 0.9}}, r"family\.gamma_min=0\.9 is above family\.gamma_max=0\.5"),
        (
            {"actors": {"temperature": 1.0}, "loss": {"distil_policy": False}},
            r"actors\.temperature=1 draws from the distilled policy",
        ),
        (
            {"evaluate": {"temperature": 0.5}, "loss": {"distil_policy": False}},
            r"evaluate\.temperature=0\.5 draws from the distilled policy",
        ),
        (
            {"actors": {"noise_steps": 4}},
            r"actors\.noise_steps=4 keeps the noise of drawn actions, and .* none are drawn",
        ),
        (
            {"actors": {"noise_steps": 4, "temperature": 1.0}, "loss": {"target": "retrace"}},
            r"loss\.target=retrace needs the probabilities of the actions, and with actors\.noise_steps=4",
        ),
        (
            {"family": {"num_policies": 200}},
            r"bandit\.window=160 is less than family\.num_policies=200: .* raise bandit\.window",
        ),
        ({"run": {"name": "../evil"}}, r"run\.name='\.\./evil' is not possible"),
        ({"run": {"seed": -1}}, r"run\.seed=-1 is not possible"),
        ({"run": {"seed": 2**31}}, r"run\.seed=2147483648 is not possible"),
        ({"network": {"small_channels": [16]}}, r"network\.small_channels"),
        ({"network": {"torso": "resnet"}}, r"network\.torso='resnet' is not possible"),
        (
            {"replay": {"min_sequences": 10, "capacity_sequences": 5}},
            r"replay\.min_sequences=10 is more than replay\.capacity_sequences=5: updates would never start",
        ),
        ({"actors": {"pool": "slurm"}}, r"actors\.pool='slurm' is not possible: .*'local'"),
        (
            {"evaluate": {"seed": 1_600_000_003}},
            r"evaluate\.seed=1600000003 would score the games that chose the checkpoint",
        ),
        ({"evaluate": {"seed": 1_800_900_000}}, r"evaluate\.seed=1800900000 would score .* the student learned from"),
        ({"evaluate": {"episodes": 1}}, r"evaluate\.episodes=1 is not possible"),
    ],
    ids=str,
)
def test_each_fault_is_one_line(tree: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{message}") as caught:
        parse_parameters(tree)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_defaults_are_the_specifications() -> None:
    p = Parameters()
    expected = {
        "family": {"num_policies": 16, "gamma_max": 0.9997, "gamma_min": 0.97, "beta_max": 0.1},
        "network": {
            "torso": "nfnet", "nfnet_widths": (64, 128, 128, 64), "nfnet_blocks": 2, "lstm_size": 512,
            "head_size": 512, "feature_size": 256, "action_embedding_size": 32,
        },
        "loss": {
            "target": "soft_watkins", "lambda_": 0.95, "kappa": 0.01, "target_temperature": 0.25,
            "bootstrap": "online", "trust_region": True, "trust_region_alpha": 3.0, "normalise_td": True,
            "sigma_floor": 0.01, "sigma_decay": 0.99, "cross_mixture": True, "cross_mixture_eta": 0.5,
            "distil_policy": True, "distillation_weight": 1.0, "distillation_epsilon": 1e-4, "max_kl": 0.5,
        },
        "novelty": {
            "enabled": True, "embedding_size": 32, "num_neighbours": 10, "memory_size": 30_000, "kernel_eps": 1e-4,
            "cluster_distance": 0.008, "pseudo_count": 1e-3, "max_similarity": 8.0, "max_modulation": 5.0,
            "learning_rate": 5e-4, "train_steps": 5,
        },
        "bandit": {"enabled": True, "scope": "environment", "window": 160, "ucb_beta": 1.0, "epsilon": 0.5},
        "replay": {
            "period": 80, "capacity_sequences": 200_000, "samples_per_insert": 6.0, "priority_exponent": 0.6,
            "importance_exponent": 0.4, "priority_eta": 0.9,
        },
        "actors": {"epsilon_base": 0.4, "epsilon_alpha": 7.0},
        "learner": {
            "batch_size": 64, "learning_rate": 3e-4, "weight_decay": 0.05, "max_gradient_norm": 40.0,
            "target_period_updates": 1500,
        },
        "env": {
            "height": 210, "width": 160, "full_action_space": True, "sticky_action_probability": 0.0,
            "frame_skip": 4, "max_pool": True, "noop_max": 30, "max_episode_frames": 108_000,
        },
    }  # fmt: skip
    for group, values in expected.items():
        for name, value in values.items():
            assert getattr(getattr(p, group), name) == value, f"{group}.{name}"


def test_aliases_read_and_written() -> None:
    p = parse_parameters({"loss": {"lambda": 0.8}, "register": {"margin": 2.0}})
    assert p.loss.lambda_ == 0.8
    assert p.register_.margin == 2.0
    assert parse_parameters({"loss": {"lambda_": 0.8}, "register_": {"margin": 2.0}}) == p
    tree = p.model_dump(mode="json", by_alias=True)
    assert tree["loss"]["lambda"] == 0.8
    assert tree["register"]["margin"] == 2.0


def test_the_whole_tree_goes_through_json() -> None:
    p = parse_parameters({"env": {"game": "ALE/Pong-v5"}, "loss": {"lambda": 0.8}, "run": {"name": "a"}})
    assert p.env.game == "Pong"
    assert parse_parameters(json.loads(json.dumps(p.model_dump(mode="json", by_alias=True)))) == p


def _names(tree: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in tree.items():
        yield from _names(value, f"{prefix}{key}.") if isinstance(value, dict) else [f"{prefix}{key}"]


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, "inf", "nan"], ids=str)
def test_only_limits_may_be_infinite_and_nothing_may_be_no_number(value: object) -> None:
    """JSON has neither: what accepts one dies when it is written, long after the start."""
    tree, accepted = Parameters().model_dump(mode="json", by_alias=True), set()
    for name in _names(tree):
        try:
            parsed = parse_parameters(assign(tree, {name: value}))
        except ConfigurationError:
            continue
        kept = look_up(parsed.model_dump(mode="json", by_alias=True), name)
        if not isinstance(kept, str) and not (kept == [value] and isinstance(value, str)):  # a name may be "nan"
            accepted.add(name)
    infinite = value in (math.inf, "inf")
    assert accepted == ({"loss.kappa", "loss.trust_region_alpha", "loss.max_kl"} if infinite else set())


@pytest.mark.parametrize("end", ["low", "high", "step"])
def test_a_range_is_finite(end: str) -> None:
    space = [{"name": "loss.kappa", "type": "float", "low": 0, "high": 1, end: math.inf}]
    with pytest.raises(ConfigurationError, match=rf"tune\.space\.0\.{end}=inf is not possible"):
        parse_parameters({"tune": {"space": space}})


def test_infinite_kappa_and_alpha_are_allowed() -> None:
    loss = parse_parameters({"loss": {"kappa": math.inf, "trust_region_alpha": math.inf, "max_kl": math.inf}}).loss
    assert loss.kappa == loss.trust_region_alpha == loss.max_kl == math.inf


def test_frozen() -> None:
    p = Parameters()
    with pytest.raises(ValidationError):
        p.env.num_envs = 2  # type: ignore[misc]
    with pytest.raises(ValidationError):
        p.env = p.env  # type: ignore[misc]


def test_run_name() -> None:
    assert parse_parameters({"env": {"game": "pong"}, "run": {"seed": 7}}).run_name == "Pong-s7"
    assert parse_parameters({"run": {"name": "mine"}}).run_name == "mine"


@pytest.mark.parametrize(
    "tree",
    [
        {"run": {"total_frames": 5}},
        {"run": {"log_period_frames": 5}},
        {"run": {"checkpoint_period_frames": 5}},
        {"run": {"keep_checkpoints": 9}},
        {"run": {"name": "other"}},
        {"run": {"fresh": True}},
        {"evaluate": {"episodes": 5}},
        {"distill": {"updates": 5}},
        {"register": {"margin": 5.0}},
        {"tracking": {"experiment": "other"}},
        {"env": {"num_threads": 4}},
        {"learner": {"torch_threads": 4}},
        {"learner": {"max_bad_updates": 4}},
        {"learner": {"evaluation_episodes": 4}},
    ],
    ids=str,
)
def test_length_logging_operation_and_later_stages_keep_the_fingerprint(tree: dict[str, Any]) -> None:
    assert parse_parameters(tree).fingerprint() == Parameters().fingerprint()


def changed(value: Any) -> Any:
    """Another possible value."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (tuple, list)):
        return [changed(value[0]), *value[1:]]
    if isinstance(value, str):
        return {"soft_watkins": "retrace", "online": "target", "nfnet": "small", "Breakout": "Pong",
                "environment": "shared", "synchronous": "overlapped", "float32": "bfloat16",
                "best": "newest"}[value]  # fmt: skip
    if isinstance(value, int):
        return value - 1 if value > 2 else value + 1
    return value * 0.99 if value else 0.25


WITH_OTHERS = {
    "id": {"id": "CartPole-v1"},
    "wrappers": {"id": "CartPole-v1", "wrappers": ["a:B"]},
    "observation_key": {"id": "CartPole-v1", "observation_key": "image"},
    "noise_steps": {"temperature": 0.25, "noise_steps": 2},
}
"""Parameters that need others of their group."""


def test_every_learning_parameter_changes_the_fingerprint() -> None:
    base = Parameters()
    tree = base.model_dump(by_alias=True)
    seen = {base.fingerprint()}
    for group in LEARNING_GROUPS:
        for name, value in tree[group].items():
            if (group, name) == ("actors", "pool") or f"{group}.{name}" in OPERATIONAL_NAMES:
                continue  # the pool has one value that needs no more of the tree
            print_ = parse_parameters({group: WITH_OTHERS.get(name) or {name: changed(value)}}).fingerprint()
            assert print_ not in seen, f"{group}.{name}"
            seen.add(print_)
    for run in ({"seed": 2}, {"exact_resume": True}, {"exact_resume": True, "checkpoint_period_frames": 5}):
        print_ = parse_parameters({"run": run}).fingerprint()
        assert print_ not in seen
        seen.add(print_)


def test_infinities_have_fingerprints_of_their_own() -> None:
    prints = [
        parse_parameters({"loss": loss}).fingerprint()
        for loss in ({}, {"kappa": math.inf}, {"trust_region_alpha": math.inf}, {"max_kl": math.inf})
    ]
    assert len(set(prints)) == 4


def test_spelling_does_not_change_the_fingerprint() -> None:
    left = parse_parameters({"env": {"game": "ALE/Pong-v5", "num_envs": 4.0}, "loss": {"lambda": 1}})
    right = parse_parameters({"loss": {"lambda_": 1.0}, "env": {"num_envs": 4, "game": "pong"}})
    assert left.fingerprint() == right.fingerprint()
    assert len(left.fingerprint()) == 12


@pytest.mark.parametrize("name", TORSOS)
def test_a_torso_is_refused_the_frames_that_it_cannot_read(name: str) -> None:
    smallest = max(16, TORSOS[name].smallest)
    tree = {"network": {"torso": name}, "env": {"height": smallest, "width": smallest}}
    assert parse_parameters(tree).network.torso == name
    if smallest > 16:
        with pytest.raises(ConfigurationError, match=f"network.torso={name} needs frames of {smallest}x{smallest}"):
            parse_parameters({**tree, "env": {"height": smallest - 1, "width": smallest}})


def test_an_unknown_torso_is_told_which_there_are() -> None:
    with pytest.raises(ConfigurationError, match=r"torso='resnet' is not possible: choose one of nfnet, impala"):
        parse_parameters({"network": {"torso": "resnet"}})


@pytest.mark.parametrize("seed", [CHECKPOINT_EVALUATION_SEED, OWN_PLAY_SEED, OWN_PLAY_SEED + 999_999])
def test_no_game_is_scored_that_was_played_before(seed: int) -> None:
    with pytest.raises(ConfigurationError, match="would score the games that"):
        parse_parameters({"evaluate": {"seed": seed - 3, "num_envs": 8}})
