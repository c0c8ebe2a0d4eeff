"""The pruners. A trial that a stop or a kill put back into the queue counts once, and stays in its bracket.

For Optuna, what goes on is a new trial with the next number, and its predecessor a failed one. Pruning would then
depend on stops: Hyperband takes the bracket from the number, and successive halving compares all that was reported.
"""

from __future__ import annotations

import warnings
from collections.abc import Container
from types import SimpleNamespace
from typing import Any

from optuna import Study
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner, WilcoxonPruner
from optuna.trial import FrozenTrial, TrialState

from meme57.config.tuning import TuneParameters
from meme57.tuning.storage import PREDECESSOR, latest, origin


def make_pruner(tune: TuneParameters) -> BasePruner:
    """Make the study's pruner; a report's step is a game and seed for Wilcoxon, and frames for the others."""
    if tune.pruner == "hyperband":
        return Hyperband(tune.min_frames, tune.frames, tune.reduction_factor)
    if tune.pruner == "successive_halving":
        return SuccessiveHalving(tune.min_frames, tune.reduction_factor)
    if tune.pruner == "median":
        return MedianPruner(n_startup_trials=5, n_warmup_steps=tune.min_frames - 1)
    if tune.pruner == "wilcoxon":
        with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
            return WilcoxonPruner(p_threshold=tune.wilcoxon_p)
    return NopPruner()


class SuccessiveHalving(SuccessiveHalvingPruner):
    """Successive halving over the latest copy of each trial."""

    def prune(self, study: Any, trial: FrozenTrial) -> bool:
        """Say whether the trial ends here."""
        return super().prune(_Latest(study), trial)  # type: ignore[arg-type]


class Hyperband(HyperbandPruner):
    """Hyperband whose bracket depends on how many trials were begun before, copies left out."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._copies: list[int] = []
        self._known = 0

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Say whether the trial ends here."""
        if not self._pruners:
            self._try_initialization(study)
        bracket = self._get_bracket_id(study, trial)
        return self._pruners[bracket].prune(_Latest(self._create_bracket_study(study, bracket)), trial)  # type: ignore[arg-type]

    def _get_bracket_id(self, study: Study, trial: FrozenTrial) -> int:
        number = origin(trial)
        if number >= self._known:
            trials = study._storage.get_all_trials(study._study_id, deepcopy=False)
            self._copies = [other.number for other in trials if PREDECESSOR in other.user_attrs]
            self._known = len(trials)
        begun_before = number - sum(copy < number for copy in self._copies)
        return super()._get_bracket_id(study, SimpleNamespace(number=begun_before))  # type: ignore[arg-type]


class _Latest:
    """What successive halving reads of a study, with each trial once."""

    def __init__(self, study: Study) -> None:
        self._study, self._storage, self.direction = study, study._storage, study.direction

    def get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        return latest(self._study.get_trials(deepcopy=deepcopy, states=states))
