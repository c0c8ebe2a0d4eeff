"""Real studies on the corridor and on Asterix: budget, pruning, failures, kills, two workers, and what is refused."""

from __future__ import annotations

import errno
import itertools
import multiprocessing
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
import yaml
from optuna.trial import TrialState
from tiny_study import FRAMES, PERIOD, SPACE, make_parameters

from meme57.addresses import sqlite_address
from meme57.config import parse_parameters
from meme57.errors import AddressError, ConfigurationError, Interrupted, RunConflictError, StorageError, TuningError
from meme57.evaluation import ranking
from meme57.files import commit_folder
from meme57.learning.trainer import TrainingEvent
from meme57.tuning import learning_run, workers
from meme57.tuning import study as study_module
from meme57.tuning.curve import Curve
from meme57.tuning.learning_run import LearningRun
from meme57.tuning.objective import Objective
from meme57.tuning.result import study_record
from meme57.tuning.storage import CAUSE, MOST_DEATHS, PREDECESSOR, Leases, latest, origin, requeue, requeue_dead
from meme57.tuning.study import Place, best_trial, open_study, work

OLD = Path(__file__).parents[1] / "data" / "fd8d2c1"


def states(study: optuna.Study) -> list[str]:
    return [trial.state.name for trial in study.trials]


def test_a_study_spends_its_trials_and_begins_with_the_configured_values(place: Place, never: Any) -> None:
    parameters = make_parameters()
    work(parameters, place, never)
    study = open_study(parameters, place)
    assert states(study) == ["COMPLETE"] * 3
    assert study.metric_names == ["return (final)"]  # what the dashboard shows; the corridor has no human score
    first = study.trials[0]
    assert first.params == {"learner.learning_rate": 3e-4, "learner.batch_size": 4}
    assert list(first.intermediate_values) == [PERIOD, 2 * PERIOD, 3 * PERIOD, FRAMES]
    assert first.value == first.intermediate_values[FRAMES]
    assert FRAMES <= first.user_attrs["frames"] < FRAMES + PERIOD
    assert first.user_attrs["scores"] == {"Corridor-s1": first.value}
    assert best_trial(study).value == max(trial.value for trial in study.trials)
    assert not [path for path in place.trials.iterdir() if path.is_dir()]
    work(parameters, place, never)
    assert len(open_study(parameters, place).trials) == 3


def test_games_that_are_cut_are_scored_by_their_return(place: Place, never: Any) -> None:
    """A normalised Asterix return below 210, random play's, is negative; no return is."""
    parameters = make_parameters(game="Asterix", num_trials=1)
    work(parameters, place, never)
    study = open_study(parameters, place)
    assert study.metric_names == ["return (final)"]
    assert study.best_value > 0
    record = study_record(study, parameters)
    assert (record["score"], record["cut_at"], record["best"]["score"]) == ("return", 160, study.best_value)
    whole = open_study(make_parameters(game="Asterix", max_episode_frames=108_000, study="whole"), place)
    assert whole.metric_names == ["human-normalised score (final)"]


def test_a_study_that_normalised_cut_games_goes_on_so(place: Place, never: Any) -> None:
    """Earlier versions did; returns among its scores could not be compared with them."""
    parameters = make_parameters(game="Asterix", num_trials=1)
    study = open_study(parameters, place)
    study.set_metric_names(["human-normalised score (final)"])
    work(parameters, place, never)
    study = open_study(parameters, place)
    assert study.metric_names == ["human-normalised score (final)"]
    assert study.best_value < 0
    record = study_record(study, parameters)
    assert (record["score"], record["cut_at"]) == ("human-normalised", None)


def test_a_study_from_before_scores_had_names_normalised_cut_games(tmp_path: Path) -> None:
    with zipfile.ZipFile(OLD / "study.zip") as files:
        files.extractall(tmp_path)
    [journal] = tmp_path.rglob("study.journal")
    parameters = parse_parameters(yaml.safe_load((OLD / "parameters.yml").read_text()))
    study = open_study(parameters, Place(journal, tmp_path / "trials"))
    assert study.metric_names == ["human-normalised score (final)"]
    record = study_record(study, parameters)
    assert (record["score"], record["cut_at"]) == ("human-normalised", None)


@pytest.mark.slow
def test_same_study_same_suggestions_whoever_asks(place: Place, tmp_path: Path, never: Any) -> None:
    work(make_parameters(), place, never)
    other = Place(tmp_path / "other.journal", tmp_path / "other")
    for num_trials in (1, 2, 3):  # a new worker for every trial
        work(make_parameters(num_trials=num_trials), other, never)
    found = [open_study(make_parameters(), where) for where in (place, other)]
    assert [t.params for t in found[0].trials] == [t.params for t in found[1].trials]
    assert [t.value for t in found[0].trials] == [t.value for t in found[1].trials]


def test_a_sampler_computes_on_the_threads_of_the_parameters(
    place: Place, never: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, before, make_sampler = set(), torch.get_num_threads(), study_module.make_sampler

    def spy(*arguments: Any, **options: Any) -> Any:
        seen.add(torch.get_num_threads())
        return make_sampler(*arguments, **options)

    monkeypatch.setattr(study_module, "make_sampler", spy)
    torch.set_num_threads(2)
    try:
        work(make_parameters(num_trials=1), place, never)
    finally:
        torch.set_num_threads(before)
    assert seen == {1}


def test_the_budget_in_frames_ends_the_study(place: Place, never: Any) -> None:
    parameters = make_parameters(num_trials=50, max_frames=FRAMES + PERIOD)
    work(parameters, place, never)
    assert states(open_study(parameters, place)) == ["COMPLETE"] * 2


def test_several_games_and_seeds_are_one_score(place: Place, never: Any) -> None:
    parameters = make_parameters(seeds=[1, 2], num_trials=1)
    work(parameters, place, never)
    [trial] = open_study(parameters, place).trials
    scores = trial.user_attrs["scores"]
    assert set(scores) == {"Corridor-s1", "Corridor-s2"}
    assert trial.value == pytest.approx(sum(scores.values()) / 2)
    assert trial.user_attrs["frames"] >= 2 * FRAMES


def test_a_leader_is_learned_with_more_seeds(place: Place, never: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted = {"learner.batch_size": {2: 0.1, 4: 0.5, 6: 0.9}}
    monkeypatch.setattr(study_module, "Objective", _scripted(scripted["learner.batch_size"]))
    parameters = make_parameters(leader_seeds=[5], num_trials=8)
    work(parameters, place, never)
    trials = open_study(parameters, place).trials
    best = -1.0
    for trial in trials:
        value = scripted["learner.batch_size"][trial.params["learner.batch_size"]]
        assert ("Corridor-s5" in trial.user_attrs["scores"]) == (value > best)
        best = max(best, trial.value)
    assert len({trial.params["learner.batch_size"] for trial in trials}) > 1


def _scripted(values: dict[int, float]) -> type[Objective]:
    """An objective whose learning runs score what the table says."""

    class Scripted(Objective):
        def _learn(self, trial: optuna.Trial, units: Any, *, prune: bool) -> float:
            self.scores |= {unit.name: values[self._values["learner.batch_size"]] for unit in units}
            return sum(self.scores.values()) / len(self.scores)

    return Scripted


def test_pruning_saves_frames_and_is_recorded(place: Place, never: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The corridor's returns are all 0 so early, so chance says which trial is good."""
    chance = random.Random(0)
    add = Curve.add
    monkeypatch.setattr(Curve, "add", lambda curve, frames, score: add(curve, frames, chance.random()))
    parameters = make_parameters(pruner="successive_halving", num_trials=6, reduction_factor=2)
    work(parameters, place, never)
    study = open_study(parameters, place)
    pruned = [trial for trial in study.trials if trial.state == TrialState.PRUNED]
    assert pruned
    assert all(trial.user_attrs["frames"] < FRAMES for trial in pruned)
    assert sum(trial.user_attrs["frames"] for trial in study.trials) < 6 * FRAMES
    assert all(list(trial.intermediate_values)[-1] < FRAMES for trial in pruned)


@pytest.mark.slow
def test_wilcoxon_reports_games_and_seeds(place: Place, never: Any) -> None:
    parameters = make_parameters(pruner="wilcoxon", seeds=[1, 2, 3], num_trials=2)
    work(parameters, place, never)
    first = open_study(parameters, place).trials[0]
    assert first.intermediate_values == dict(enumerate(first.user_attrs["scores"].values()))


def test_constraints_reach_optuna(place: Place, never: Any) -> None:
    parameters = make_parameters(constraints={"max_memory_mb": 1.0, "max_skipped_updates": 1_000}, num_trials=1)
    work(parameters, place, never)
    study = open_study(parameters, place)
    [trial] = study.trials
    assert trial.constraints["max_memory_mb"] > 0
    assert trial.constraints["max_skipped_updates"] == -1_000
    with pytest.raises(TuningError, match="none was complete and met the constraints"):
        best_trial(study)


def test_a_failed_trial_is_recorded_with_its_cause(place: Place, never: Any) -> None:
    """A replay that is smaller than what the network needs to begin fails; the study goes on."""
    parameters = make_parameters(frames=40, report_period_frames=40, checkpoint_period_frames=40, num_trials=2)
    work(parameters, place, never)
    study = open_study(parameters, place)
    assert states(study) == ["FAIL", "FAIL"]
    assert study.trials[0].user_attrs[CAUSE].startswith("TuningError: no episode of Corridor ended within tune.frames")
    with pytest.raises(TuningError, match="the first failed with TuningError: no episode"):
        best_trial(study)


def test_another_objective_under_the_same_name_is_refused(place: Place) -> None:
    open_study(make_parameters(), place)
    open_study(make_parameters(num_trials=9, sampler="tpe", workers=2), place)
    for changed in ({"frames": 2 * FRAMES}, {"space": SPACE[:1]}, {"pruner": "median"}, {"seeds": [2]}):
        with pytest.raises(RunConflictError, match=r"exists with another space.*tune\.study=small-b"):
            open_study(make_parameters(**changed), place)


def test_another_period_of_evaluations_is_another_objective(place: Place) -> None:
    """Evaluations happen at checkpoints, so their period shapes the score."""
    study = open_study(make_parameters(score="evaluation"), place)
    changed = make_parameters(score="evaluation", checkpoint_period_frames=PERIOD)
    with pytest.raises(RunConflictError, match=r"evaluation_period_frames.*tune\.study=small-b"):
        open_study(changed, place)
    stored = {name: value for name, value in study.user_attrs["settings"].items() if name != "evaluation_period_frames"}
    study.set_user_attr("settings", stored)  # as an earlier version wrote them
    open_study(changed, place)


def test_the_period_of_checkpoints_does_not_shape_training_returns(place: Place) -> None:
    open_study(make_parameters(), place)
    open_study(make_parameters(checkpoint_period_frames=PERIOD), place)


def test_a_stopped_trial_goes_on_from_its_checkpoint(place: Place, tmp_path: Path, never: Any) -> None:
    """The same scores as an uninterrupted study, in one trial, and not learned from the beginning."""
    parameters = make_parameters(game="Asterix", num_trials=1)
    with pytest.raises(Interrupted):
        work(parameters, place, lambda: bool([*place.trials.glob("trial-0000/*/checkpoints/checkpoint-*")]))
    study = open_study(parameters, place)
    assert states(study) == ["FAIL", "WAITING"]
    [checkpoint] = place.trials.glob("trial-0000/Asterix-s1/checkpoints/checkpoint-*")
    assert checkpoint.name == "checkpoint-000001"
    work(parameters, place, never)
    study = open_study(parameters, place)
    assert states(study) == ["FAIL", "COMPLETE"]
    whole = Place(tmp_path / "whole.journal", tmp_path / "whole")
    work(parameters, whole, never)
    uninterrupted = open_study(parameters, whole).trials[0]
    assert study.trials[1].value == uninterrupted.value != 0
    assert study.trials[1].intermediate_values == uninterrupted.intermediate_values
    assert [origin(trial) for trial in latest(study.trials)] == [0]


def test_a_full_disk_is_no_fault_of_the_trial(place: Place, never: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = make_parameters(num_trials=1)
    monkeypatch.setattr("meme57.checkpoints.store.commit_folder", fail_at(2, OSError(errno.ENOSPC, "No space left")))
    with pytest.raises(StorageError, match="the same command resumes from there"):
        work(parameters, place, never)
    study = open_study(parameters, place)
    assert states(study) == ["FAIL", "WAITING"]
    assert [path.name for path in place.trials.glob("trial-0000/*/checkpoints/c*")] == ["checkpoint-000001"]
    monkeypatch.undo()
    work(parameters, place, never)
    assert states(open_study(parameters, place)) == ["FAIL", "COMPLETE"]


def test_a_full_disk_may_hit_the_journal_too(place: Place, never: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = make_parameters(num_trials=1)
    set_user_attr = optuna.Trial.set_user_attr

    def refuse(trial: optuna.Trial, key: str, value: Any) -> None:
        if key == "scores":
            raise OSError(errno.ENOSPC, "No space left on device")
        set_user_attr(trial, key, value)

    monkeypatch.setattr(optuna.Trial, "set_user_attr", refuse)
    with pytest.raises(StorageError, match=r"No space left on device.*the same command resumes"):
        work(parameters, place, never)
    monkeypatch.undo()
    work(parameters, place, never)
    assert states(open_study(parameters, place)) == ["FAIL", "COMPLETE"]


def test_a_stop_in_the_last_evaluation_puts_the_trial_back(
    place: Place, tmp_path: Path, never: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had all its frames: without the last score it would count as complete with an earlier one, or as failed."""
    parameters = make_parameters(num_trials=1, score="evaluation", checkpoint_period_frames=FRAMES)
    learner = parameters.learner.model_copy(update={"evaluation_episodes": 2})
    parameters = parameters.model_copy(update={"learner": learner})
    play, stopping = ranking.mean_return, threading.Event()

    def interrupted(*_: Any, **__: Any) -> float:
        stopping.set()
        raise Interrupted("stopped while evaluating")

    monkeypatch.setattr(ranking, "mean_return", interrupted)
    with pytest.raises(Interrupted):
        work(parameters, place, stopping.is_set)
    assert states(open_study(parameters, place)) == ["FAIL", "WAITING"]
    monkeypatch.setattr(ranking, "mean_return", play)
    work(parameters, place, never)
    whole = Place(tmp_path / "whole.journal", tmp_path / "whole")
    work(parameters, whole, never)
    stopped, uninterrupted = (open_study(parameters, where).trials[-1] for where in (place, whole))
    assert stopped.state == uninterrupted.state == TrialState.COMPLETE
    assert stopped.value == uninterrupted.value


def fail_at(number: int, error: Exception) -> Callable[[Path, Path], None]:
    """Make a `commit_folder` whose call of that number raises."""
    calls = itertools.count(1)

    def commit(temporary: Path, path: Path) -> None:
        if next(calls) == number:
            raise error
        commit_folder(temporary, path)

    return commit


def test_speed_is_that_of_a_run_by_itself(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four runs that take turns learn as fast as one alone; the constraint must not divide by their number."""
    worked = 0.0

    def events(*_: Any, **__: Any) -> Any:
        nonlocal worked
        for frames in range(PERIOD, FRAMES + 1, PERIOD):
            worked += 2.0
            row = {"frames": float(frames), "learner/skipped_updates": 0.0}
            yield TrainingEvent(frames, updates=0, rows=[row])

    monkeypatch.setattr(learning_run, "learn", events)
    monkeypatch.setattr(learning_run.time, "perf_counter", lambda: worked)
    for seeds in ([1], [1, 2, 3, 4]):
        objective = Objective(make_parameters(seeds=seeds), {}, place.trials, scale="return", stop=lambda: False)
        with ExitStack() as stack:
            runs = [objective._open(unit, stack) for unit in objective._units(seeds)]
            for frames in range(PERIOD, FRAMES + 1, PERIOD):
                for run in runs:
                    run.advance(frames)
        assert objective.health.frames_per_second == [PERIOD / 2.0] * 4 * len(seeds)


def test_runs_one_after_the_other_are_closed_before_the_next(
    place: Place, never: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []
    begun: list[tuple[str, list[str]]] = []
    advance, close = LearningRun.advance, LearningRun.close

    def note_begun(run: LearningRun, frames: int) -> None:
        begun.append((run.unit.name, [*closed]))
        advance(run, frames)

    def note_closed(run: LearningRun) -> None:
        closed.append(run.unit.name)
        close(run)

    monkeypatch.setattr(LearningRun, "advance", note_begun)
    monkeypatch.setattr(LearningRun, "close", note_closed)
    work(make_parameters(pruner="wilcoxon", seeds=[1, 2, 3], num_trials=1), place, never)
    names = [f"Corridor-s{seed}" for seed in (1, 2, 3)]
    assert begun == [(name, names[:i]) for i, name in enumerate(names)]


def test_a_trial_whose_worker_dies_again_and_again_is_given_up(place: Place) -> None:
    parameters = make_parameters(baseline=False)
    study, leases = open_study(parameters, place), Leases(place.trials)
    for _ in range(MOST_DEATHS + 1):
        study.ask()
        requeue_dead(study, leases)
    assert states(study) == ["FAIL"] * (MOST_DEATHS + 1)
    assert study.trials[-1].user_attrs[CAUSE] == "its workers died too often"


def test_dying_while_requeueing_neither_loses_nor_repeats(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = make_parameters(baseline=False)
    study, leases = open_study(parameters, place), Leases(place.trials)
    study.ask()
    with monkeypatch.context() as patch:
        patch.setattr("meme57.tuning.storage.give_up", _raise_keyboard_interrupt)
        with pytest.raises(KeyboardInterrupt):
            requeue_dead(study, leases)
    assert states(study) == ["RUNNING", "WAITING"]
    requeue_dead(study, leases)
    assert states(study) == ["FAIL", "WAITING"]
    assert study.trials[1].user_attrs[PREDECESSOR] == 0


def _raise_keyboard_interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def test_half_a_line_does_not_spoil_the_journal(place: Place) -> None:
    study = open_study(make_parameters(), place)
    study.ask()
    with place.journal.open("ab") as stream:
        stream.write(b'{"op_code": 4, "wor')
    study = open_study(make_parameters(), place)
    study.ask()
    assert len(open_study(make_parameters(), place).trials) == 2


def test_a_file_of_this_machine_is_no_study_of_several(
    place: Place, never: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "import_ray", lambda wish: None)
    monkeypatch.setattr(workers, "connect", lambda ray: True)
    monkeypatch.setattr(workers, "machines", lambda ray: ["here", "there"])
    with pytest.raises(ConfigurationError, match=r"has 2 machines, .*: give tune\.storage the address of a database"):
        workers.run_study(make_parameters(executor="ray"), place, never)
    assert not place.journal.exists()


def test_a_storage_that_cannot_be_opened_is_one_line(place: Place) -> None:
    with pytest.raises(AddressError, match="storage nonsense://x cannot be opened") as info:
        open_study(make_parameters(storage="nonsense://x"), place)
    assert "\n" not in str(info.value)


@pytest.mark.parametrize("folder", ["a%20b", "a?b#c", "~ä [x]* 100%"])
def test_a_database_lies_where_its_address_says(place: Place, tmp_path: Path, folder: str) -> None:
    database = tmp_path / folder / "study.db"
    study = open_study(make_parameters(storage=sqlite_address(database)), place)
    assert [study.study_name] == optuna.get_all_study_names(sqlite_address(database))
    assert sorted(path for path in tmp_path.rglob("*.db")) == [database]
    assert {path.name for path in tmp_path.iterdir()} == {folder, "trials"}  # no folder under another name


def test_a_database_that_cannot_be_is_one_line(place: Place, tmp_path: Path) -> None:
    with pytest.raises(AddressError, match="it is a folder"):
        open_study(make_parameters(storage=sqlite_address(tmp_path)), place)


@pytest.mark.slow
def test_a_database_takes_the_place_of_the_journal(place: Place, tmp_path: Path, never: Any) -> None:
    parameters = make_parameters(storage=sqlite_address(tmp_path / "study.db"), num_trials=2)
    work(parameters, place, never)
    assert states(open_study(parameters, place)) == ["COMPLETE"] * 2
    assert not place.journal.exists()


def test_a_silent_workers_trial_is_requeued_in_a_database(place: Place, tmp_path: Path, never: Any) -> None:
    parameters = make_parameters(storage=sqlite_address(tmp_path / "study.db"), num_trials=1, heartbeat_seconds=1)
    study = open_study(parameters, place)
    trial = study.ask()
    study._storage.record_heartbeat(trial._trial_id)
    with sqlite3.connect(tmp_path / "study.db") as database:  # and then nothing more for a minute
        database.execute("UPDATE trial_heartbeats SET heartbeat = datetime('now', '-1 minute')")
    work(parameters, place, never)
    study = open_study(parameters, place)
    assert states(study) == ["FAIL", "COMPLETE"]
    assert [origin(trial) for trial in study.trials] == [0, 0]


def test_a_worker_that_dies_before_its_first_heartbeat_is_found(place: Place, tmp_path: Path, never: Any) -> None:
    """Such as in a sampler that computes for seconds; Optuna looks only at trials that have had a heartbeat."""
    parameters = make_parameters(storage=sqlite_address(tmp_path / "study.db"), num_trials=1, heartbeat_seconds=1)
    open_study(parameters, place).ask()  # and then nothing more
    work(parameters, place, never)
    assert states(open_study(parameters, place)) == ["FAIL", "COMPLETE"]


def test_a_worker_that_was_silent_leaves_the_checkpoints_to_whoever_took_over(
    place: Place, tmp_path: Path, never: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A laptop slept; another worker put the trial back into the queue, and the first one wakes."""
    parameters = make_parameters(storage=sqlite_address(tmp_path / "study.db"), num_trials=1, baseline=False)
    add, slept = Curve.add, threading.Event()

    def sleep_once(curve: Curve, frames: int, score: float) -> None:
        add(curve, frames, score)
        if frames > 2 * PERIOD and not slept.is_set():  # after the first checkpoint
            slept.set()
            study = open_study(parameters, place)
            [running] = study.get_trials(states=(TrialState.RUNNING,))
            study._storage.set_trial_state_values(running._trial_id, TrialState.FAIL)
            requeue(study, running, deaths=1)

    begun, learn = [], study_module.Objective.__call__

    def note_what_is_there(objective: Objective, trial: optuna.Trial) -> float:
        begun.append([path.name for path in place.trials.glob("trial-0000/*/checkpoints/c*")])
        return learn(objective, trial)

    monkeypatch.setattr(Curve, "add", sleep_once)
    monkeypatch.setattr(study_module.Objective, "__call__", note_what_is_there)
    work(parameters, place, never)
    assert begun == [[], ["checkpoint-000001"]]
    assert states(open_study(parameters, place)) == ["FAIL", "COMPLETE"]


def run_worker(place: Place, num_trials: int, **tune: Any) -> None:
    work(make_parameters(num_trials=num_trials, **tune), place, lambda: False)


def test_killed_workers_lose_no_trial_and_run_none_twice(place: Place, never: Any) -> None:
    """Two workers at once on one study, both killed by SIGKILL in the middle of a trial; a third finishes."""
    parameters = make_parameters(num_trials=4)
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=run_worker, args=(place, 4)) for _ in range(2)]
    for worker in workers:
        worker.start()
    _until(lambda: len(_running(place)) == 2 and any(t.intermediate_values for t in _running(place)))
    os.kill(workers[0].pid, signal.SIGKILL)
    os.kill(workers[1].pid, signal.SIGKILL)
    for worker in workers:
        worker.join()
    before = open_study(parameters, place).trials
    assert sum(trial.state == TrialState.RUNNING for trial in before) == 2
    work(parameters, place, never)
    trials = open_study(parameters, place).trials
    ended = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    assert sorted(origin(trial) for trial in ended) == sorted({origin(trial) for trial in trials})
    assert len(ended) == 4
    requeued = [trial for trial in trials if trial.state == TrialState.FAIL]
    assert len(requeued) == 2
    assert all(trial.user_attrs[CAUSE].startswith("its worker stopped") for trial in requeued)
    assert {tuple(t.params.items()) for t in requeued} <= {tuple(t.params.items()) for t in ended}


def _running(place: Place) -> list[optuna.trial.FrozenTrial]:
    if not place.journal.exists():
        return []
    try:
        return open_study(make_parameters(num_trials=4), place).get_trials(states=(TrialState.RUNNING,))
    except TuningError:
        return []


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_optuna_dashboard_opens_the_storage(place: Place, never: Any) -> None:
    pytest.importorskip("optuna_dashboard")
    work(make_parameters(num_trials=1), place, never)
    script = (
        "import sys, optuna_dashboard, optuna\n"
        "from optuna_dashboard._cli import get_storage\n"
        "print([s.study_name for s in get_storage(sys.argv[1]).get_all_studies()])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(place.journal)], capture_output=True, text=True, check=False
    )
    assert "['small']" in done.stdout, done.stderr
