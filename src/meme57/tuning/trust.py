"""Say whether the model of the samplers `gp` and `pr` predicts trials that it has not seen, alone and together.

The model is fitted again without the trials that it predicts, and so is the constant that it is measured against. The
joint score is what parallel suggestions rely on. Two private parts of Optuna are used, `_gp.gp` and `_gp.search_space`;
a contract test checks them.

Source: joint scores after Osband et al. 2021 (The Neural Testbed); two anchors after dyadic sampling, Osband et al.
2022 (Evaluating High-Order Predictive Distributions in Deep Learning). They draw new labels of each anchor again and
again. A trial has one score, so a draw after the first is the anchor's nearest trial that is left (ours).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import optuna
import torch
from numpy.typing import NDArray
from optuna._gp import gp, prior
from optuna._gp.search_space import SearchSpace
from optuna.trial import FrozenTrial, TrialState

from meme57.config import Parameters
from meme57.intervals import mean_of
from meme57.tuning.learning_run import Unit
from meme57.tuning.study import sampler_name

Array = NDArray[np.float64]

LEAST_TRIALS = 10
"""With fewer different trials there is no verdict."""
MOST_PREDICTIONS = 50
"""Of each kind, alone and together: each one fits the model again."""
NUM_TOGETHER = 4
LEAST_DEVIATION = 1e-3
"""Of the trials' standard deviation: every prediction has this much noise, so that no density is infinite."""
COVERAGES = (0.5, 0.9)
CONFIDENCE = 0.95
BETTER = "better than a constant"
ON_THESE_SEEDS = "better than a constant, but on these seeds only: it predicts their luck"
NOT_BETTER = "no better than a constant: read the trials, not the model"


@dataclass(frozen=True)
class Points:
    """Different points of the space, and the score of each."""

    x: Array  # [N, D] Optuna's normalised parameters: 0 to 1, or the index of a choice
    y: Array  # [N]
    is_categorical: NDArray[np.bool_]  # [D]

    def nearest(self, index: int) -> NDArray[np.int64]:
        """List all points by their distance from one of them, itself first [N]."""
        gaps = self.x - self.x[index]
        distances = np.where(self.is_categorical, gaps != 0, gaps**2).sum(axis=-1)
        distances[index] = -1.0
        return np.argsort(distances, kind="stable")


class Prediction(NamedTuple):
    """The joint normal distribution of K scores."""

    mean: Array  # [K]
    covariance: Array  # [K, K]


Model = Callable[[Points, NDArray[np.int64]], Prediction]
"""Predicts the scores of some points [K] from the others."""


def study_trust(study: optuna.Study, parameters: Parameters) -> dict[str, Any]:
    """Check the model on the complete trials of a study; see `trust`. `sampler` is what the study suggests with."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    trials = [trial for trial in complete if trial.value is not None and math.isfinite(trial.value)]
    points = complete_points(trials)
    found = trust(points, noise=repeat_variance(trials, parameters), seed=parameters.tune.sampler_seed)
    return {**found, "sampler": sampler_name(parameters.tune)}


def trust(points: Points, *, noise: float | None, seed: int, model: Model | None = None) -> dict[str, Any]:
    """Compare the model with a constant on trials that neither has seen.

    Args:
        noise: variance of a score under repetition; None if nothing was repeated.
        model: by default `predict`, the model of the samplers.

    Returns values for JSON: the verdict; for one trial `alone` and for several `together` the mean gain over the
    constant in nats a trial, its interval, and the gain `noise_limit` of a model that knows everything but the noise;
    and the share of trials inside the model's intervals.
    """
    model = model or predict
    n = len(points.y)
    if n < LEAST_TRIALS:
        return {"verdict": f"not known: {n} different trials are complete, and it takes {LEAST_TRIALS}"}
    if np.ptp(points.y) == 0:
        return {"verdict": "not known: all trials have the same score"}
    generator = np.random.default_rng(seed)
    asked = generator.permutation(n)[:MOST_PREDICTIONS]
    alone = [np.array([index]) for index in asked]
    together = [dyad(points, index, generator) for index in asked]
    predictions = [model(points, held) for held in alone]
    found = {
        "alone": _gain(points, alone, predictions, noise),
        "together": _gain(points, together, [model(points, held) for held in together], noise),
    }
    covered = _coverage(points, alone, predictions)
    return {"verdict": _verdict(**found), **found, "covered": covered, "num_together": NUM_TOGETHER}


def _verdict(alone: Mapping[str, Any], together: Mapping[str, Any]) -> str:
    """Judge by the lower ends of both intervals."""
    if min(alone["interval"][0], together["interval"][0]) <= 0:
        return NOT_BETTER
    is_luck = alone["noise_limit"] is not None and alone["interval"][0] > max(0.0, alone["noise_limit"])
    return ON_THESE_SEEDS if is_luck else BETTER


def complete_points(trials: Sequence[FrozenTrial]) -> Points:
    """Take the parameters that all trials have, as GPSampler does; equal trials are one point with their mean score."""
    spaces = optuna.search_space.intersection_search_space(list(trials))
    space = SearchSpace({name: kind for name, kind in spaces.items() if not kind.single()})
    x, owner = np.unique(space.get_normalized_params(list(trials)), axis=0, return_inverse=True)
    scores = np.array([trial.value for trial in trials], np.float64)
    y = np.bincount(owner.ravel(), scores) / np.bincount(owner.ravel())
    return Points(x, y, space.is_categorical)


def repeat_variance(trials: Sequence[FrozenTrial], parameters: Parameters) -> float | None:
    """Estimate the variance that other seeds would give a trial's score; None with one seed, or where no seed matters.

    All trials have the same seeds. So what a seed adds to every trial is no noise between trials, and is taken out.
    """
    tune, games = parameters.tune, parameters.tune_games
    names = [[Unit(game, seed).name for game in games] for seed in tune.seeds]
    wanted = {name for row in names for name in row}
    known = [scores for trial in trials if wanted <= (scores := trial.user_attrs.get("scores", {})).keys()]
    if len(tune.seeds) < 2 or len(known) < 2:
        return None
    table = np.array([[[scores[name] for name in row] for row in names] for scores in known]).mean(axis=-1)  # [N, S]
    rest = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + table.mean()
    n, s = table.shape
    return float((rest**2).sum() / ((n - 1) * (s - 1)) / s) or None


def dyad(points: Points, first: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Draw trials to predict together [K]: two anchors, and more, each the nearest that is left to one of the two."""
    second = generator.choice(np.delete(np.arange(len(points.y)), first))
    held = [first, second]
    for anchor in generator.choice(held, NUM_TOGETHER - 2):
        held.append(next(index for index in points.nearest(anchor) if index not in held))
    return np.array(held)


def predict(points: Points, held: NDArray[np.int64]) -> Prediction:
    """Fit GPSampler's model without the trials `held` [K], and predict their scores."""
    rest = np.delete(points.y, held)
    scale = max(float(rest.std()), 1e-10)
    model = gp.fit_kernel_params(
        X=np.delete(points.x, held, axis=0),
        Y=(rest - rest.mean()) / scale,
        is_categorical=points.is_categorical,
        log_prior=prior.default_log_prior,
        minimum_noise=prior.DEFAULT_MINIMUM_NOISE_VAR,
        deterministic_objective=False,
    )
    mean, covariance = model.posterior(torch.from_numpy(points.x[held]), joint=True)
    noisy = covariance.numpy() + float(model.noise_var) * np.eye(len(held))
    return Prediction(mean.numpy() * scale + rest.mean(), noisy * scale**2)


def constant(points: Points, held: NDArray[np.int64]) -> Prediction:
    """Predict the mean and variance of the other trials for each of `held` [K]; all share the error of the mean."""
    rest, k = np.delete(points.y, held), len(held)
    return Prediction(np.full(k, rest.mean()), rest.var(ddof=1) * (np.eye(k) + 1 / len(rest)))


def log_score(prediction: Prediction, y: Array) -> float:
    """Return the log density of scores `y` [K], in nats a score."""
    root = np.linalg.cholesky(prediction.covariance)
    z = np.linalg.solve(root, y - prediction.mean)
    return float(-(0.5 * z @ z + np.log(np.diag(root)).sum()) / len(y) - 0.5 * math.log(2 * math.pi))


def _gain(
    points: Points, helds: Sequence[NDArray[np.int64]], predictions: Sequence[Prediction], noise: float | None
) -> dict[str, Any]:
    """Summarise what the predictions of each of `helds` gain over the constant."""
    least = (LEAST_DEVIATION * points.y.std()) ** 2
    ours: list[float] = []
    base: list[float] = []
    for held, prediction in zip(helds, predictions, strict=True):
        for scores, (mean, covariance) in ((ours, prediction), (base, constant(points, held))):
            scores.append(log_score(Prediction(mean, covariance + least * np.eye(len(held))), points.y[held]))
    gain = mean_of(np.subtract(ours, base))
    limit = None if noise is None else -0.5 * math.log(2 * math.pi * math.e * (noise + least)) - float(np.mean(base))
    return {"gain": float(gain.value), "interval": gain.interval(CONFIDENCE), "noise_limit": limit, "n": len(helds)}


def _coverage(
    points: Points, helds: Sequence[NDArray[np.int64]], predictions: Sequence[Prediction]
) -> dict[str, float]:
    """Return the share of single trials inside the model's central intervals, by the interval's share."""
    errors = np.array([points.y[held[0]] - found.mean[0] for held, found in zip(helds, predictions, strict=True)])
    deviations = np.array([found.covariance[0, 0] ** 0.5 for found in predictions])
    within = {share: np.abs(errors) <= NormalDist().inv_cdf((1 + share) / 2) * deviations for share in COVERAGES}
    return {f"{share:g}": float(inside.mean()) for share, inside in within.items()}
