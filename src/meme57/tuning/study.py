"""The study: created or resumed, with any number of worker processes; each works on one trial at a time."""

from __future__ import annotations

import errno
import hashlib
import logging
import random
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages._heartbeat import fail_stale_trials, get_heartbeat_thread
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from meme57.config import Parameters
from meme57.config.identity import changes, is_same
from meme57.config.tuning import TuneParameters
from meme57.errors import Interrupted, RunConflictError, StorageError, TuningError, first_line
from meme57.evaluation.reference import has_reference, reference_beside
from meme57.tracking.trials import StudyRun, TrialRun
from meme57.tuning.identity import (
    former_study_fingerprint,
    study_fingerprint,
    study_settings,
    with_evaluation_period,
)
from meme57.tuning.learning_run import NORMALISED, RETURN
from meme57.tuning.objective import Objective
from meme57.tuning.pruners import make_pruner
from meme57.tuning.samplers import make_sampler
from meme57.tuning.space import configured_values, suggest
from meme57.tuning.storage import CAUSE, REMEDY, Leases, give_up, latest, open_storage, origin, requeue, requeue_dead

FINGERPRINT, SETTINGS, MLFLOW_RUN = "fingerprint", "settings", "mlflow_run_id"
POLL_SECONDS = 0.5
FULL = (errno.ENOSPC, errno.EDQUOT)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """The place of a study, as plain values that can go to another process."""

    journal: Path
    trials: Path
    """Folder of the trials' checkpoints and leases."""
    tracking: StudyRun | None = None


def open_study(parameters: Parameters, place: Place) -> optuna.Study:
    """Create the study, with the configured values as its first trial, or resume it.

    Raises:
        RunConflictError: the name is taken by another study.
        TuningError, AddressError: the storage cannot be opened.
    """
    tune, name, settings = parameters.tune, parameters.study_name, study_settings(parameters)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = open_storage(tune.storage, place.journal, heartbeat_seconds=tune.heartbeat_seconds)
    with Leases(place.trials).study():
        study = optuna.create_study(
            storage=storage, study_name=name, direction="maximize", load_if_exists=True, pruner=make_pruner(tune)
        )
        known = study.user_attrs
        if FINGERPRINT not in known:
            _name_score(study, parameters, _new_scale(parameters))
            study.set_user_attr(FINGERPRINT, study_fingerprint(parameters))
            study.set_user_attr(SETTINGS, settings)
            if tune.baseline:
                tree = parameters.model_dump(mode="json", by_alias=True)
                study.enqueue_trial(configured_values(tree, tune.space), user_attrs={"baseline": True})
    if FINGERPRINT not in known:
        return study
    stored = known.get(SETTINGS) and with_evaluation_period(known[SETTINGS], settings)
    if not is_same(stored, known[FINGERPRINT], settings, former_study_fingerprint(parameters)):
        what = changes(stored, settings) if stored else f"{known[FINGERPRINT]}, no list was kept"
        raise RunConflictError(
            f"study {name!r} exists with another space, objective or agent ({what}): "
            f"`kedro run --pipelines tune --params tune.study={name}-b` starts another beside it"
        )
    if tune.storage is None:
        _refuse_damage(study, parameters, place.journal)
    if study.metric_names is None:
        _name_score(study, parameters, study_scale(study, parameters))
    return study


def study_scale(study: optuna.Study, parameters: Parameters) -> str:
    """Return the scale of the study's scores, `NORMALISED` or `RETURN`, which the name of its score tells.

    A study without that name is of commit fd8d2c1, where cut games were normalised too.
    """
    if study.metric_names is None:
        return NORMALISED if has_reference(parameters.tune_games[0]) else RETURN
    return NORMALISED if study.metric_names[0].startswith(NORMALISED) else RETURN


def _new_scale(parameters: Parameters) -> str:
    """Choose the scale of a new study: returns that may not stand beside published scores stay as they are."""
    reference = reference_beside(parameters.tune_games[0], parameters.env.max_episode_frames)
    return RETURN if reference is None else NORMALISED


def _name_score(study: optuna.Study, parameters: Parameters, scale: str) -> None:
    """Name a trial's score for Optuna's dashboard and plots, and for `study_scale`."""
    name = f"{scale} score" if scale == NORMALISED else scale
    with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
        study.set_metric_names([f"{name} ({parameters.tune.metric})"])


def _refuse_damage(study: optuna.Study, parameters: Parameters, journal: Path) -> None:
    """Raise `TuningError` if the journal is no study of this space; this reads once all that is read later."""
    try:
        if study.directions != [StudyDirection.MAXIMIZE]:
            raise ValueError("its scores are not to be maximised")
        for trial in study.get_trials(deepcopy=False):
            _look_at(trial, parameters)
        with suppress(ValueError):  # there is no complete and feasible trial
            _ = study.best_trial
    except Exception as error:  # Optuna's errors about a foreign journal have no common base class
        words = f"{type(error).__name__} {str(error)[:200]}"
        raise TuningError(f"{journal} is damaged: {words}: {REMEDY}") from error


def _look_at(trial: FrozenTrial, parameters: Parameters) -> None:
    """Raise any error if the trial's facts have another type, or its values are no point of the space."""
    origin(trial)
    int(trial.user_attrs.get("frames", 0))
    sum(map(float, trial.user_attrs.get("scores", {}).values()))
    if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
        with warnings.catch_warnings(action="error", category=UserWarning):  # a value outside its range
            suggest(optuna.trial.FixedTrial(trial.params), parameters.tune.space)


def work(parameters: Parameters, place: Place, stop: Callable[[], bool]) -> None:
    """Work on trials until the budget is spent and none is running; take over the trials of dead workers.

    Raises:
        Interrupted: a stop was requested; the open trial is back in the queue, with its checkpoint.
    """
    torch.set_num_threads(parameters.learner.torch_threads)  # samplers compute here, between the learning runs
    study = open_study(parameters, place)
    leases = Leases(place.trials)
    while True:
        if stop():
            raise Interrupted(f"study {parameters.study_name} was stopped: the same command resumes it")
        with _next_trial(study, parameters, leases) as task:
            if task is not None:
                _run(study, *task, parameters, place, stop)
            elif not study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING)):
                return
            else:
                time.sleep(POLL_SECONDS)


@contextmanager
def _next_trial(
    study: optuna.Study, parameters: Parameters, leases: Leases
) -> Iterator[tuple[optuna.Trial, dict[str, Any]] | None]:
    """Ask for a trial, with its values and its lease; None if the budget is spent."""
    tune = parameters.tune
    with leases.study():
        if tune.storage is None:
            requeue_dead(study, leases)
        else:
            with warnings.catch_warnings(action="ignore"):
                fail_stale_trials(study)
        trials = study.get_trials(deepcopy=False)
        if not may_begin(trials, tune):
            trial = None
        else:
            salt = 0 if tune.storage is None else random.SystemRandom().getrandbits(30)
            study.sampler = _sampler(tune, len(latest(trials)), salt)
            with warnings.catch_warnings(action="ignore"):
                trial = study.ask()
            lease = leases.take(trial.number)
            values = suggest(trial, tune.space)
    if trial is None:
        yield None
        return
    try:
        with get_heartbeat_thread(trial._trial_id, study._storage):
            yield trial, values
    finally:
        lease.close()


def may_begin(trials: list[FrozenTrial], tune: TuneParameters) -> bool:
    """Say whether a trial waits in the queue, or the budget in trials and frames allows another one."""
    if any(trial.state == TrialState.WAITING for trial in trials):
        return True
    frames = sum(int(trial.user_attrs.get("frames", 0)) for trial in latest(trials))
    return len(latest(trials)) < tune.num_trials and (tune.max_frames is None or frames < tune.max_frames)


def _run(
    study: optuna.Study,
    trial: optuna.Trial,
    values: dict[str, Any],
    parameters: Parameters,
    place: Place,
    stop: Callable[[], bool],
) -> None:
    frozen = study.trials[trial.number]
    number = origin(frozen)
    run = TrialRun(place.tracking, f"trial-{number:04d}", values, frozen.user_attrs.get(MLFLOW_RUN))
    if run.run_id is not None:
        trial.set_user_attr(MLFLOW_RUN, run.run_id)
    folder = place.trials / f"trial-{number:04d}"
    objective = Objective(
        parameters,
        values,
        folder,
        scale=study_scale(study, parameters),
        stop=stop,
        report=lambda frames, score: run.report({"score": score}, frames=frames),
    )
    state, note = "FAIL", ""
    try:
        score = objective(trial)
        objective.constrain(trial)
        study.tell(trial, score)
        state, note = "COMPLETE", f"score {score:.4f}"
    except optuna.TrialPruned as pruned:
        objective.constrain(trial)
        study.tell(trial, state=TrialState.PRUNED)
        state, note = "PRUNED", str(pruned)
    except (Interrupted, KeyboardInterrupt):
        state, note = "STOPPED", "back in the queue"
        _put_back(study, trial.number, "its worker was stopped")
        raise
    except UpdateFinishedTrialError:
        state, note = "STOPPED", "its worker was silent for too long, and another one has taken it over"
    except RunConflictError as error:  # a worker that was silent plays on, and holds the folder
        state, note = "STOPPED", f"back in the queue ({first_line(error)})"
        _put_back(study, trial.number, "another worker has its folder")
        time.sleep(parameters.tune.heartbeat_seconds)
    except Exception as error:  # the study continues, whatever a setting breaks
        if _is_of_the_disk(error):
            state, note = "STOPPED", f"back in the queue ({first_line(error)})"
            with suppress(OSError):  # if the journal cannot be written either, the next start finds the trial
                _put_back(study, trial.number, "the disk was full", deaths=1)
            if isinstance(error, StorageError):
                raise
            raise StorageError(f"the study cannot be written ({error}): make room; the same command resumes") from error
        note = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        give_up(study, study.trials[trial.number], note)
    finally:
        log.info("trial %d: %s, %s; %s frames", number, state, note, f"{objective.frames:,}")
        run.close(state, note)
        if state != "STOPPED":
            shutil.rmtree(folder, ignore_errors=True)


def _put_back(study: optuna.Study, number: int, cause: str, *, deaths: int = 0) -> None:
    trial = study.trials[number]
    requeue(study, trial, deaths=deaths)
    give_up(study, trial, f"{cause}; a copy resumes it")


def _is_of_the_disk(error: Exception) -> bool:
    return isinstance(error, StorageError) or (isinstance(error, OSError) and error.errno in FULL)


def sampler_name(tune: TuneParameters) -> str:
    """Return the sampler's name; `auto` is `gp` without a pruner and `tpe` with one."""
    return ("gp" if tune.pruner == "none" else "tpe") if tune.sampler == "auto" else tune.sampler


def _sampler(tune: TuneParameters, number: int, salt: int) -> optuna.samplers.BaseSampler:
    """Make the sampler for the trial after `number` others; its seed does not depend on the process that asks."""
    digest = hashlib.sha256(f"{tune.sampler_seed} {number} {salt}".encode()).digest()
    return make_sampler(
        sampler_name(tune), seed=int.from_bytes(digest[:4]) % 2**31, n_startup_trials=tune.startup_trials
    )


def best_trial(study: optuna.Study) -> FrozenTrial:
    """Find the best feasible complete trial.

    Raises:
        TuningError: there is none; the message has the first cause.
    """
    try:
        return study.best_trial
    except ValueError:
        causes = [trial.user_attrs[CAUSE] for trial in latest(study.trials) if CAUSE in trial.user_attrs]
        words = f"the first failed with {causes[0]}" if causes else "none was complete and met the constraints"
        raise TuningError(f"study {study.study_name!r} has no best trial: {words}") from None
