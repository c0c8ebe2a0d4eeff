"""The reparameterised sampler on Optuna's own model, and the contract with the hooks that carry it."""

from __future__ import annotations

import inspect
import itertools
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import scipy.optimize
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, GPSampler

import meme57.tuning.samplers as samplers
from meme57.tuning.samplers import ProbabilisticReparameterizationSampler, make_sampler, mixed_space

SPACES: dict[str, dict[str, BaseDistribution]] = {
    "binary": {f"b{k}": IntDistribution(0, 1) for k in range(4)} | {"x": FloatDistribution(0, 1)},
    "ordered": {f"o{k}": IntDistribution(0, 3) for k in range(3)} | {"x": FloatDistribution(-1, 1)},
    "categorical": {f"c{k}": CategoricalDistribution("abc") for k in range(3)}
    | {"x": FloatDistribution(1e-3, 1, log=True), "y": FloatDistribution(0, 1)},
    "mixed": {
        "b": CategoricalDistribution([True, False]),
        "o": IntDistribution(2, 10, step=2),
        "l": IntDistribution(1, 8, log=True),
        "c": CategoricalDistribution(["u", "v", "w"]),
        "x": FloatDistribution(0, 1),
    },
    "discrete": {"o": IntDistribution(0, 6), "c": CategoricalDistribution("abcd")},
}


def value(parameters: dict[str, Any]) -> float:
    """Any number that depends on every parameter."""
    numbers = [
        float(v) if isinstance(v, int | float) else float("abcduvw".index(v)) for _, v in sorted(parameters.items())
    ]
    return float(sum(np.sin(1.7 * v + i) + 0.2 * v * numbers[i - 1] for i, v in enumerate(numbers)))


def study_of(space: dict[str, BaseDistribution], *, seed: int, num_trials: int, **arguments: Any) -> optuna.Study:
    """A study with random trials."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed), **arguments)
    for _ in range(num_trials):
        trial = study.ask(space)
        study.tell(trial, value(trial.params))
    return study


def enumerate_acquisition(acqf: Any) -> float:
    """The best value over every configuration, each with L-BFGS-B on its continuous coordinates from eight starts."""
    space = acqf.search_space
    rng, best = np.random.default_rng(0), -np.inf
    continuous = space.continuous_indices

    def negative(x: Any, point: Any) -> tuple[float, Any]:
        point[continuous] = x
        found, gradient = acqf.eval_acqf_with_grad(point)
        return -found, -np.nan_to_num(gradient[continuous])

    for choices in itertools.product(*space.get_choices_of_discrete_params()):
        point = np.zeros(space.dim)
        point[space.discrete_indices] = choices
        best = max(best, float(acqf.eval_acqf_no_grad(point[None])[0]))
        for start in rng.random((8, len(continuous))) if len(continuous) else ():
            bounds = [(0, 1)] * len(continuous)
            found = scipy.optimize.minimize(
                negative, start, (point.copy(),), jac=True, method="L-BFGS-B", bounds=bounds
            )
            best = max(best, -float(found.fun))
    return best


class Recorded(ProbabilisticReparameterizationSampler):
    """Keeps the acquisition and the answer; a test's double, no sampler of ours."""

    seen: tuple[Any, Any]

    def _optimize_acqf(self, acqf: Any, best_params: Any) -> Any:
        self.seen = acqf, super()._optimize_acqf(acqf, best_params)
        return self.seen[1]


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", SPACES)
def test_acquisition_is_at_least_enumeration_minus_a_twentieth(name: str, seed: int) -> None:
    study = study_of(SPACES[name], seed=seed, num_trials=14)
    study.sampler = Recorded(seed=seed)
    study.ask(SPACES[name])
    acqf, answer = study.sampler.seen
    assert float(acqf.eval_acqf_no_grad(answer[None])[0]) >= enumerate_acquisition(acqf) - 0.05


@pytest.mark.slow
def test_sampling_instead_of_enumeration_finds_as_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samplers, "MOST_ENUMERATED", 0)
    study = study_of(SPACES["mixed"], seed=5, num_trials=14)
    study.sampler = Recorded(seed=5)
    study.ask(SPACES["mixed"])
    acqf, answer = study.sampler.seen
    assert float(acqf.eval_acqf_no_grad(answer[None])[0]) >= enumerate_acquisition(acqf) - 0.05


def test_same_seed_same_suggestions() -> None:
    suggestions = []
    for _ in range(2):
        study = study_of(SPACES["mixed"], seed=1, num_trials=10)
        study.sampler = ProbabilisticReparameterizationSampler(seed=3, n_startup_trials=10)
        suggestions.append(study.ask(SPACES["mixed"]).params)
    assert suggestions[0] == suggestions[1]


def test_start_up_trials_are_random() -> None:
    study = study_of(SPACES["mixed"], seed=1, num_trials=9)
    study.sampler = Recorded(seed=3)
    study.ask(SPACES["mixed"])
    assert not hasattr(study.sampler, "seen")


def test_without_discrete_parameters_gpsampler_optimises() -> None:
    space: dict[str, BaseDistribution] = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}
    suggestions = []
    for sampler in (ProbabilisticReparameterizationSampler(seed=2), GPSampler(seed=2)):
        study = study_of(space, seed=2, num_trials=12)
        study.sampler = sampler
        suggestions.append(study.ask(space).params)
    assert suggestions[0] == suggestions[1]


def test_constraints_running_trials_and_two_objectives_are_inherited() -> None:
    study = optuna.create_study(
        directions=["minimize", "maximize"], sampler=ProbabilisticReparameterizationSampler(seed=0, n_startup_trials=5)
    )
    kinds = []
    for number in range(7):
        trial = study.ask(SPACES["mixed"])
        trial.set_constraint("limit", trial.params["x"] - 0.7)
        if number != 5:  # one trial keeps running
            study.tell(trial, [value(trial.params), trial.params["x"]])
        kinds.append(trial.params)
    assert all(set(parameters) == set(SPACES["mixed"]) for parameters in kinds)


def test_an_observed_point_does_not_break_the_search() -> None:
    """One binary parameter, both values observed again and again: log EI is far below zero everywhere."""
    space: dict[str, BaseDistribution] = {"b": IntDistribution(0, 1), "c": CategoricalDistribution("abc")}
    study = study_of(space, seed=0, num_trials=40)
    study.sampler = ProbabilisticReparameterizationSampler(seed=0)
    assert set(study.ask(space).params) == {"b", "c"}


def test_contract_with_optunas_private_hooks() -> None:
    """What `samplers` relies on; when Optuna changes it, this fails before a study does."""
    parameters = list(inspect.signature(GPSampler._optimize_acqf).parameters)
    assert parameters == ["self", "acqf", "best_params"]
    study = study_of(SPACES["mixed"], seed=0, num_trials=12)
    study.sampler = Recorded(seed=0)
    study.ask(SPACES["mixed"])
    acqf, answer = study.sampler.seen
    assert answer.shape == (5,)
    assert answer.dtype == np.float64
    found = mixed_space(acqf.search_space)
    assert (found.continuous, found.ordered, found.categorical, found.choices) == ((4,), (0, 2, 3), (1,), (3,))
    assert [len(grid) for grid in found.grids] == [2, 8, 5]
    assert all((grid[1:] > grid[:-1]).all() for grid in found.grids)
    assert acqf.eval_acqf_no_grad(acqf.search_space.sample_normalized_params(8, rng=study.sampler._rng.rng)).shape == (
        8,
    )


def test_optunas_version_is_bounded_where_the_hooks_were_seen() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    [bound] = [line for line in project["project"]["dependencies"] if line.startswith("optuna")]
    assert bound == "optuna>=5.0,<6"
    assert metadata.version("optuna").startswith("5.")


def test_it_is_the_only_sampler_of_ours() -> None:
    ours = [
        item
        for item in vars(samplers).values()
        if inspect.isclass(item) and issubclass(item, BaseSampler) and item.__module__.startswith("meme57.")
    ]
    assert ours == [ProbabilisticReparameterizationSampler]
    assert str(inspect.signature(ours[0])) == "(*, seed: 'int | None' = None, n_startup_trials: 'int' = 10) -> 'None'"


@pytest.mark.parametrize(
    ("name", "kind"), [("gp", "GPSampler"), ("tpe", "TPESampler"), ("random", "RandomSampler"), ("pr", "Prob")]
)
def test_samplers_by_name(name: str, kind: str) -> None:
    assert type(make_sampler(name, seed=1, n_startup_trials=5)).__name__.startswith(kind)
