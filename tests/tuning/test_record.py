"""What a study leaves can be written: JSON has no infinity, and a limit may be infinite."""

from __future__ import annotations

import json

import optuna
import pytest
import yaml
from optuna.trial import create_trial
from tiny_study import make_parameters

from meme57.config import parse_parameters
from meme57.config.fields import LONGEST_NAME
from meme57.evaluation.reference import reference_games
from meme57.tuning.result import environment_text, study_record


def test_an_infinite_choice_is_text_and_comes_back() -> None:
    inf = float("inf")
    space = [{"name": "loss.kappa", "type": "categorical", "choices": [0.01, inf]}]
    parameters = make_parameters(space=space)
    study = optuna.create_study(direction="maximize")
    kappa = optuna.distributions.CategoricalDistribution([0.01, inf])
    study.add_trial(create_trial(params={"loss.kappa": inf}, distributions={"loss.kappa": kappa}, value=1.0))
    record = json.loads(json.dumps(study_record(study, parameters), allow_nan=False))
    assert record["best"]["values"] == record["trials"][0]["values"] == {"loss.kappa": "Infinity"}
    tree = yaml.safe_load(environment_text(parameters, record, None, ["base", "laptop"]))
    del tree["extends"]
    assert parse_parameters(tree).loss.kappa == inf


RECORD = {
    "best": {"trial": 0, "score": 1.0, "values": {}}, "trials": [{}], "frames": 10, "score": "return",
    "metric": "final",
}  # fmt: skip


def test_a_study_of_many_games_can_write_its_result() -> None:
    """Its default name is longer than a run's may be; every trial had been learned when that was found."""
    games = reference_games()[:26]
    parameters = make_parameters(games=games, study=None)
    assert len(parameters.study_name) > LONGEST_NAME
    tree = yaml.safe_load(environment_text(parameters, RECORD, None, ["base", "laptop"]))
    assert len(tree["run"]["name"]) == LONGEST_NAME
    assert tree["run"]["name"].endswith(f"-s{parameters.run.seed}")


@pytest.mark.parametrize(
    ("chain", "extended"),
    [
        (["base"], "base"),
        (["base", "laptop", "local"], "local"),
        (["base", "laptop", "tuned-Corridor"], "laptop"),  # the study ran in what it writes
        (["base", "laptop", "tuned-Corridor", "mine"], "laptop"),
    ],
)
def test_the_environment_extends_the_one_that_the_study_ran_in_and_never_itself(chain, extended) -> None:
    parameters = make_parameters(study="Corridor")
    record = RECORD
    assert yaml.safe_load(environment_text(parameters, record, None, chain))["extends"] == extended
