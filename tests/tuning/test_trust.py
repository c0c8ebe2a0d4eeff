"""Whether the check of the model is right: on functions of the model itself, on noise, and on numbers by hand."""

from __future__ import annotations

import inspect
import json
import math
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from optuna._gp import gp
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import GPSampler
from optuna.trial import TrialState, create_trial
from tiny_study import make_parameters

from meme57.tuning import trust as module
from meme57.tuning.trust import (
    BETTER,
    NOT_BETTER,
    ON_THESE_SEEDS,
    Points,
    Prediction,
    complete_points,
    constant,
    dyad,
    log_score,
    predict,
    repeat_variance,
    study_trust,
    trust,
)

NOISE, SCALE, OFFSET = 0.02, 0.1, 3.0


def regressor(x: Any, y: Any) -> gp.GPRegressor:
    """The model itself, with parameters that are known: one length of 1 in each dimension, kernel scale 1."""
    ones = torch.ones(x.shape[1], dtype=torch.float64)
    found = gp.GPRegressor(
        torch.zeros(x.shape[1], dtype=torch.bool), torch.from_numpy(x), torch.from_numpy(y),
        ones, torch.tensor(1.0, dtype=torch.float64), torch.tensor(NOISE, dtype=torch.float64),
    )  # fmt: skip
    found._cache_matrix()
    return found


def drawn(n: int, rng: np.random.Generator) -> Points:
    """Scores of a function that is drawn from the model, in other units than the model's."""
    x = rng.random((n, 3))
    covariance = regressor(x, np.zeros(n)).kernel().numpy() + NOISE * np.eye(n)
    y = np.linalg.cholesky(covariance) @ rng.normal(size=n)
    return Points(x, OFFSET + SCALE * y, np.zeros(3, bool))


def the_truth(points: Points, held: Any) -> Prediction:
    """Predict with the parameters that the function was drawn with."""
    model = regressor(np.delete(points.x, held, 0), (np.delete(points.y, held) - OFFSET) / SCALE)
    mean, covariance = model.posterior(torch.from_numpy(points.x[held]), joint=True)
    noisy = covariance.numpy() + NOISE * np.eye(len(held))
    return Prediction(OFFSET + SCALE * mean.numpy(), SCALE**2 * noisy)


def alone(points: Points, held: Any) -> Prediction:
    """The truth without its correlations."""
    mean, covariance = the_truth(points, held)
    return Prediction(mean, np.diag(np.diag(covariance)))


def overconfident(points: Points, held: Any) -> Prediction:
    mean, covariance = the_truth(points, held)
    return Prediction(mean, covariance / 9)


def checks(model: Any, *, functions: int = 30, n: int = 24) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    return [trust(drawn(n, rng), noise=SCALE**2 * NOISE, seed=k, model=model) for k in range(functions)]


def gain(found: list[dict[str, Any]], kind: str) -> float:
    return float(np.mean([check[kind]["gain"] for check in found]))


def test_the_check_is_calibrated_on_functions_of_the_model() -> None:
    """A share over 30 functions has a standard error of 0.014 (0.9) and 0.020 (0.5); the bounds are three of them."""
    found = checks(the_truth)
    for share, tolerance in (("0.5", 0.06), ("0.9", 0.042)):
        assert np.mean([check["covered"][share] for check in found]) == pytest.approx(float(share), abs=tolerance)
    assert 0.3 < gain(found, "alone") < np.mean([check["alone"]["noise_limit"] for check in found])
    assert 0.3 < gain(found, "together") < np.mean([check["together"]["noise_limit"] for check in found])
    assert sum(check["verdict"] == BETTER for check in found) > 20


def test_it_sees_a_model_that_is_too_sure_and_one_whose_joint_is_wrong() -> None:
    """The same marginals without their correlations lose the joint score alone."""
    true, sure, apart = (checks(model, functions=10) for model in (the_truth, overconfident, alone))
    assert np.mean([check["covered"]["0.9"] for check in sure]) < 0.6
    assert gain(sure, "alone") < gain(true, "alone") - 0.5
    assert gain(apart, "alone") == gain(true, "alone")
    assert gain(apart, "together") < gain(true, "together") - 0.02


def test_the_samplers_model_learns_a_function_of_its_own() -> None:
    """Fitted without what it predicts, it loses little against the parameters that the function has."""
    points = drawn(40, np.random.default_rng(3))
    fitted, true = (trust(points, noise=None, seed=0, model=model) for model in (None, the_truth))
    assert fitted["verdict"] == BETTER
    assert fitted["covered"]["0.9"] > 0.75
    for kind in ("alone", "together"):
        assert true[kind]["gain"] - 0.4 < fitted[kind]["gain"]
        assert fitted[kind]["noise_limit"] is None
        assert fitted[kind]["n"] == 40
    json.dumps(fitted, allow_nan=False)


def test_a_model_above_the_noise_of_the_seeds_predicts_their_luck() -> None:
    """The function is the same; other seeds would spread the scores as much as the parameters do."""
    points = drawn(40, np.random.default_rng(3))
    found = [trust(points, noise=noise, seed=0, model=the_truth) for noise in (SCALE**2 * NOISE, points.y.var())]
    assert [check["verdict"] for check in found] == [BETTER, ON_THESE_SEEDS]


@pytest.mark.parametrize("seed", range(3))
def test_on_pure_noise_the_model_is_at_most_a_constant(seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = trust(Points(rng.random((16, 3)), rng.normal(size=16), np.zeros(3, bool)), noise=1.0, seed=seed)
    assert found["verdict"] == NOT_BETTER
    assert found["alone"]["gain"] <= 0
    assert found["together"]["gain"] <= 0
    assert found["alone"]["noise_limit"] < 0.4  # nothing is to be known but the mean and the variance


def test_the_log_score_by_hand() -> None:
    """Independent: -log(2 pi)/2 - log(s) - z^2/2. Correlation 0.6: determinant 0.64, z' inverse z = (1 + 1) / 1.6."""
    half = 0.5 * math.log(2 * math.pi)
    single = Prediction(np.array([1.0]), np.array([[4.0]]))
    assert log_score(single, np.array([5.0])) == pytest.approx(-half - math.log(2) - 2.0)
    pair = Prediction(np.zeros(2), np.array([[1.0, 0.6], [0.6, 1.0]]))
    assert log_score(pair, np.ones(2)) == pytest.approx(-half - 0.25 * math.log(0.64) - 0.25 * 1.25)


def test_the_constant_does_not_see_what_it_predicts() -> None:
    """Of 1, 2, 3: mean 2, variance 1, and 1/3 for the mean's error, which both share."""
    points = Points(np.zeros((5, 1)), np.array([1.0, 99.0, 2.0, 3.0, -99.0]), np.zeros(1, bool))
    mean, covariance = constant(points, np.array([1, 4]))
    assert mean.tolist() == [2.0, 2.0]
    assert covariance == pytest.approx(np.array([[4 / 3, 1 / 3], [1 / 3, 4 / 3]]))


def test_the_model_does_not_see_what_it_predicts() -> None:
    points = drawn(12, np.random.default_rng(0))
    held = np.array([2, 7])
    y = points.y.copy()
    y[held] = 1e6
    for mine, other in zip(
        predict(points, held), predict(Points(points.x, y, points.is_categorical), held), strict=True
    ):
        assert mine == pytest.approx(other)


def test_a_dyad_is_two_anchors_and_their_nearest() -> None:
    """A choice has no distance but equal or not: 0 and 2 are as far apart as 0 and 1."""
    x = np.array([[0.0, 0], [0.1, 0], [0.2, 0], [0.9, 2], [0.8, 2], [0.75, 2]])
    points = Points(x, np.arange(6.0), np.array([False, True]))
    assert points.nearest(0).tolist() == [0, 1, 2, 5, 4, 3]
    for seed in range(20):
        first, second, *others = dyad(points, 0, np.random.default_rng(seed)).tolist()
        assert first == 0 != second
        assert len({first, second, *others}) == 4
        if second == 3:
            assert set(others) in ({1, 2}, {1, 4}, {4, 5})


def study_of(
    scores: list[float], units: list[dict[str, float]] | None = None, **ranges: BaseDistribution
) -> optuna.Study:
    study = optuna.create_study(direction="maximize")
    space = ranges or {"x": FloatDistribution(0, 1)}
    for number, score in enumerate(scores):
        params = {name: getattr(kind, "choices", [(number % 12) / 12])[0] for name, kind in space.items()}
        attrs = {} if units is None else {"scores": units[number]}
        study.add_trial(create_trial(params=params, distributions=space, value=score, user_attrs=attrs))
    return study


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ([1.0, 2.0, 3.0], "3 different trials are complete, and it takes 10"),
        ([0.5] * 12, "all trials have the same score"),
    ],
)
def test_there_is_no_verdict_without_enough_to_judge(scores: list[float], words: str) -> None:
    found = study_trust(study_of(scores), make_parameters())
    assert words in found["verdict"]
    assert "alone" not in found


def test_trials_without_a_common_parameter_or_a_finite_score_are_no_evidence() -> None:
    study = optuna.create_study(direction="maximize")
    for number in range(12):
        study.add_trial(create_trial(params={}, distributions={}, value=float(number)))
    assert "1 different trials" in study_trust(study, make_parameters())["verdict"]
    assert "2 different trials" in study_trust(study_of([1.0, 2.0, math.inf]), make_parameters())["verdict"]


def test_equal_trials_are_one_point() -> None:
    """12 different points, of which two were tried twice."""
    points = complete_points(study_of([float(k) for k in range(14)]).trials)
    assert len(points.y) == 12
    assert points.y[:3].tolist() == [6.0, 7.0, 2.0]  # (0 + 12) / 2, (1 + 13) / 2, 2


def test_a_parameter_with_one_value_or_a_condition_is_left_out() -> None:
    study = study_of([1.0, 2.0], x=FloatDistribution(0, 1), one=CategoricalDistribution(["a"]))
    study.add_trial(
        create_trial(
            params={"x": 0.5, "one": "a", "n": 3},
            distributions={
                "x": FloatDistribution(0, 1),
                "one": CategoricalDistribution(["a"]),
                "n": IntDistribution(1, 5),
            },
            value=3.0,
        )
    )
    assert complete_points(study.trials).x.shape == (3, 1)


def test_the_noise_of_repeated_evaluations_by_hand() -> None:
    """Seed 2 adds 10 to every trial, which is no noise. What remains is +-0.5 and the opposite: 4 * 0.25 / 1 / 2."""
    parameters = make_parameters(seeds=[1, 2])
    units = [{"Corridor-s1": 1.0, "Corridor-s2": 12.0}, {"Corridor-s1": 5.0, "Corridor-s2": 14.0}]
    assert repeat_variance(study_of([6.5, 9.5], units).trials, parameters) == pytest.approx(0.5)
    assert repeat_variance(study_of([6.5, 9.5]).trials, parameters) is None
    assert repeat_variance(study_of([6.5, 9.5], units).trials, make_parameters()) is None


def test_contract_with_optunas_private_model() -> None:
    """The model that GPSampler asks is the one that is checked: same fit, same prior, same noise."""
    seen: list[Any] = []

    class Recorded(GPSampler):
        def _optimize_acqf(self, acqf: Any, best_params: Any) -> Any:
            seen.append(acqf._gpr)
            return super()._optimize_acqf(acqf, best_params)

    rng = np.random.default_rng(0)
    study = optuna.create_study(sampler=Recorded(seed=0, n_startup_trials=5), direction="maximize")
    space: dict[str, BaseDistribution] = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}
    for x, y in rng.random((12, 2)):
        study.add_trial(create_trial(params={"x": x, "y": y}, distributions=space, value=math.sin(5 * x) + y))
    study.ask(space)
    trials = study.get_trials(states=(TrialState.COMPLETE,))
    points = complete_points(trials)
    extra = Points(np.vstack([points.x, [[0.3, 0.3]]]), np.append(points.y, 0.0), points.is_categorical)
    mean, covariance = predict(extra, np.array([12]))
    scores = np.array([trial.value for trial in trials])
    theirs, variance = seen[0].posterior(torch.tensor([[0.3, 0.3]], dtype=torch.float64))
    assert mean[0] == pytest.approx(float(theirs) * scores.std() + scores.mean(), rel=0.02)
    assert covariance[0, 0] == pytest.approx(float(variance + seen[0].noise_var) * scores.var(), rel=0.05)
    assert "deterministic_objective" in inspect.signature(gp.fit_kernel_params).parameters
    assert module.gp is gp


def test_another_choice_is_one_away() -> None:
    values = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 1.5]])  # 1 whatever its number, and not 9; 1.5 is 2.25
    assert Points(values, np.zeros(3), np.array([True, False])).nearest(0).tolist() == [0, 1, 2]


def test_both_intervals_must_be_above_nothing() -> None:
    good, bad = ({"interval": [low, 1.0], "noise_limit": None} for low in (0.1, -0.1))
    assert module._verdict(good, good) == BETTER
    assert module._verdict(good, bad) == module._verdict(bad, good) == NOT_BETTER
