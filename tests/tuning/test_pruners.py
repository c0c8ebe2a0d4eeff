"""A stop or a kill changes no pruning: what goes on afterwards is the same trial."""

from __future__ import annotations

import random
from collections.abc import Collection
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.pruners import HyperbandPruner, SuccessiveHalvingPruner
from optuna.trial import TrialState
from tiny_study import make_parameters

from meme57.tuning.pruners import make_pruner
from meme57.tuning.storage import Leases, give_up, origin, requeue, requeue_dead

REPORTS = (800, 1_600, 2_400, 3_200)
TRIALS = 24
LIMITS: dict[str, Any] = {"frames": 7_200, "min_frames": 800, "reduction_factor": 3}


def pruned_at(pruner: Any, *, stopped: Collection[int] = (), killed: Collection[int] = (), folder: Path) -> list[Any]:
    """Play trials whose scores are scripted; return where each was pruned, in the order in which they first began.

    A trial in `stopped` or `killed` leaves its worker after its first report, and goes on at once.
    """
    chance = random.Random(3)
    scores = [[chance.random() for _ in REPORTS] for _ in range(TRIALS)]
    study = optuna.create_study(study_name="halving", direction="maximize", pruner=pruner)
    ends: dict[int, int | None] = {}
    while len(ends) < TRIALS:
        trial = study.ask()
        number = origin(study.trials[trial.number])
        begun = len(ends)
        reports = iter(zip(REPORTS, scores[begun], strict=True))
        _report(trial, next(reports))
        end = REPORTS[0] if trial.should_prune() else None
        if end is None and number == trial.number and begun in stopped:
            requeue(study, study.trials[trial.number], deaths=0)
            give_up(study, study.trials[trial.number], "stopped")
            continue
        if end is None and number == trial.number and begun in killed:
            requeue_dead(study, Leases(folder))
            continue
        for point in reports:
            if end is None:
                _report(trial, point)
                end = point[0] if trial.should_prune() else None
        ends[number] = end
        study.tell(trial, 0.0 if end is None else None, state=TrialState.COMPLETE if end is None else TrialState.PRUNED)
    return list(ends.values())


def _report(trial: optuna.Trial, point: tuple[int, float]) -> None:
    trial.report(point[1], point[0])


def ours(kind: str) -> Any:
    return make_pruner(make_parameters(pruner=kind, **LIMITS).tune)


@pytest.mark.parametrize("kind", ["hyperband", "successive_halving"])
@pytest.mark.parametrize("which", [{"stopped": {0}}, {"killed": {0, 5, 6}}, {"stopped": {2, 9}, "killed": {4, 17}}])
def test_a_stop_or_a_kill_changes_no_pruning(kind: str, which: dict[str, Any], tmp_path: Path) -> None:
    whole = pruned_at(ours(kind), folder=tmp_path)
    assert len(set(whole)) > 1
    assert pruned_at(ours(kind), folder=tmp_path, **which) == whole


@pytest.mark.parametrize(
    ("kind", "of_optuna"), [("hyperband", HyperbandPruner), ("successive_halving", SuccessiveHalvingPruner)]
)
def test_without_a_stop_pruning_is_optunas(kind: str, of_optuna: Any, tmp_path: Path) -> None:
    sizes = (800, 7_200, 3) if of_optuna is HyperbandPruner else (800, 3)
    assert pruned_at(ours(kind), folder=tmp_path) == pruned_at(of_optuna(*sizes), folder=tmp_path)


def test_optunas_own_pruning_does_depend_on_a_stop(tmp_path: Path) -> None:
    """So the test above can fail."""
    whole = pruned_at(HyperbandPruner(800, 7_200, 3), folder=tmp_path)
    assert pruned_at(HyperbandPruner(800, 7_200, 3), folder=tmp_path, stopped={0}) != whole
