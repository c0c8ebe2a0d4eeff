"""From a trial's suggestions to parameters."""

from __future__ import annotations

import optuna

from meme57.config import parse_parameters
from meme57.config.tree import assign
from meme57.config.tuning import Dimension
from meme57.tuning.space import configured_values, suggest

SPACE = [
    {"name": "learner.learning_rate", "type": "log_float", "low": 1e-4, "high": 1e-2},
    {"name": "loss.trust_region", "type": "categorical", "choices": [True, False]},
    {"name": "loss.trust_region_alpha", "type": "float", "low": 1, "high": 5, "when": {"loss.trust_region": True}},
    {"name": "learner.batch_size", "type": "log_int", "low": 8, "high": 32},
    {"name": "family.num_policies", "type": "int", "low": 2, "high": 8, "step": 2},
    {"name": "network.small_channels", "type": "categorical", "choices": [[16, 32], [4, 8]]},
]
PARAMETERS = parse_parameters({"tune": {"space": SPACE}})
TREE = PARAMETERS.model_dump(mode="json", by_alias=True)


def suggested(values: dict[str, object]) -> dict[str, object]:
    return suggest(optuna.trial.FixedTrial(values), PARAMETERS.tune.space)


def test_a_condition_that_does_not_hold_leaves_the_parameter_as_configured() -> None:
    values = {"learner.learning_rate": 1e-3, "learner.batch_size": 9, "family.num_policies": 4}
    values |= {"network.small_channels": "[4, 8]"}
    off = suggested({**values, "loss.trust_region": False})
    assert "loss.trust_region_alpha" not in off
    on = suggested({**values, "loss.trust_region": True, "loss.trust_region_alpha": 2.5})
    assert on["loss.trust_region_alpha"] == 2.5
    assert on["network.small_channels"] == [4, 8]
    chosen = parse_parameters(assign(TREE, off))
    assert chosen.loss.trust_region_alpha == PARAMETERS.loss.trust_region_alpha
    assert (chosen.learner.batch_size, chosen.network.small_channels) == (9, (4, 8))
    assert PARAMETERS.learner.batch_size == 64


def test_random_suggestions_are_always_valid() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen = set()
    for _ in range(60):
        values = suggest(study.ask(), PARAMETERS.tune.space)
        chosen = parse_parameters(assign(TREE, values))
        seen.add((chosen.loss.trust_region, "loss.trust_region_alpha" in values, chosen.family.num_policies))
    assert {(on, has) for on, has, _ in seen} == {(True, True), (False, False)}
    assert {policies for _, _, policies in seen} == {2, 4, 6, 8}


def test_configured_values_are_those_inside_the_space() -> None:
    # By default: learning rate 3e-4, trust region on with alpha 3, batch 64 (outside), 16 policies (outside).
    assert configured_values(TREE, PARAMETERS.tune.space) == {
        "learner.learning_rate": 3e-4,
        "loss.trust_region": True,
        "loss.trust_region_alpha": 3.0,
        "network.small_channels": "[16, 32]",
    }
    grid = [{"name": "family.beta_max", "type": "float", "low": 0.1, "high": 0.5, "step": 0.1}]
    on_it = parse_parameters({"family": {"beta_max": 0.3}, "tune": {"space": grid}})  # (0.3 - 0.1) / 0.1 is 1.99...
    tree = on_it.model_dump(mode="json", by_alias=True)
    assert configured_values(tree, on_it.tune.space) == {"family.beta_max": 0.3}
    off = parse_parameters({"loss": {"trust_region": False}, "tune": {"space": SPACE}})
    tree = off.model_dump(mode="json", by_alias=True)
    assert "loss.trust_region_alpha" not in configured_values(tree, off.tune.space)


def test_the_study_does_not_change_a_runs_fingerprint() -> None:
    assert parse_parameters({}).fingerprint() == PARAMETERS.fingerprint()


def test_a_configured_number_is_the_choice_that_equals_it() -> None:
    """6.0 is configured and 6 is a choice; a switch is no number."""
    choices = [2, 4, 6, 8]
    whole = Dimension(name="replay.samples_per_insert", type="categorical", choices=choices)
    tree = {"replay": {"samples_per_insert": 6.0}, "bandit": {"enabled": True}}
    found = configured_values(tree, [whole])
    assert found == {"replay.samples_per_insert": 6}
    assert type(found["replay.samples_per_insert"]) is int
    assert configured_values(tree, [Dimension(name="bandit.enabled", type="categorical", choices=[0, 1])]) == {}
