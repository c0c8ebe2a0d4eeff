"""The samplers of a study: Optuna's own, and probabilistic reparameterisation on GPSampler's model.

The latter uses two private parts of Optuna: `GPSampler._optimize_acqf(acqf, best_params)`, and the acquisition object
that it gets (`eval_acqf`, `search_space`). pyproject bounds Optuna's version, and a contract test checks these parts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler

from meme57.tuning.ascent import maximise, start_features
from meme57.tuning.reparameterization import MixedSpace

if TYPE_CHECKING:
    import numpy.typing as npt

NUM_RESTARTS = 20
NUM_PRELIMINARY = 1024
MOST_ENUMERATED = 1024
"""Most configurations of one phi that are enumerated; more are sampled."""


class ProbabilisticReparameterizationSampler(GPSampler):
    """A GPSampler that maximises its acquisition in expectation over distributions of the discrete parameters.

    GPSampler handles model, constraints, several objectives and running trials. Without a discrete parameter there is
    nothing to reparameterise, and GPSampler's optimiser runs. Source: Daulton et al. 2022; see `reparameterization`.
    """

    def __init__(self, *, seed: int | None = None, n_startup_trials: int = 10) -> None:
        super().__init__(seed=seed, n_startup_trials=n_startup_trials, warn_independent_sampling=False)

    def _optimize_acqf(self, acqf: Any, best_params: npt.NDArray[np.float64] | None) -> npt.NDArray[np.float64]:
        space = mixed_space(acqf.search_space)
        if not space.num_options:
            return np.asarray(super()._optimize_acqf(acqf, best_params))
        rng = self._rng.rng
        starts = _starts(acqf, best_params, rng)
        generator = torch.Generator().manual_seed(int(rng.randint(2**31 - 1)))
        phi = start_features(torch.from_numpy(starts), space, generator)
        seed = int(rng.randint(2**31 - 1))
        best = maximise(acqf.eval_acqf, space, phi, seed=seed, most_enumerated=MOST_ENUMERATED)
        return best.point.numpy()


def mixed_space(search_space: Any) -> MixedSpace:
    """Sort Optuna's normalised search space into continuous, ordered and categorical parameters."""
    ordered, grids, categorical, choices = [], [], [], []
    for index, values in zip(
        search_space.discrete_indices.tolist(), search_space.get_choices_of_discrete_params(), strict=True
    ):
        if search_space.is_categorical[index] and len(values) > 2:
            categorical.append(index)
            choices.append(len(values))
        else:
            ordered.append(index)
            grids.append(torch.as_tensor(values, dtype=torch.float64))
    continuous = tuple(search_space.continuous_indices.tolist())
    return MixedSpace(continuous, tuple(ordered), tuple(grids), tuple(categorical), tuple(choices))


def _starts(acqf: Any, best_params: npt.NDArray[np.float64] | None, rng: Any) -> npt.NDArray[np.float64]:
    """Select incumbents, the best preliminary point, and others drawn in proportion to their acquisition: `[20, D]`."""
    points = acqf.search_space.sample_normalized_params(NUM_PRELIMINARY, rng=rng)
    values = np.nan_to_num(acqf.eval_acqf_no_grad(points), nan=-np.inf, posinf=0.0)
    known = points[:0] if best_params is None else best_params[: NUM_RESTARTS // 2]
    order = np.argsort(-(values + rng.gumbel(size=len(values))))  # Gumbel top-k: without replacement
    selected = [int(np.argmax(values)), *order[: NUM_RESTARTS - len(known) - 1].tolist()]
    return np.concatenate([known, points[selected]])


def make_sampler(name: str, *, seed: int, n_startup_trials: int) -> BaseSampler:
    """Make a sampler by name: `gp`, `pr`, `tpe` or `random`."""
    if name == "gp":
        return GPSampler(seed=seed, n_startup_trials=n_startup_trials, warn_independent_sampling=False)
    if name == "pr":
        return ProbabilisticReparameterizationSampler(seed=seed, n_startup_trials=n_startup_trials)
    if name == "tpe":
        return TPESampler(seed=seed, n_startup_trials=n_startup_trials)
    return RandomSampler(seed=seed)
