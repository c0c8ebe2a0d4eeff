"""A study's trials as runs in a real store."""

from __future__ import annotations

from pathlib import Path

import pytest

from meme57.tracking.run_record import TrackingRun
from meme57.tracking.runs import PARENT, ActiveRun
from meme57.tracking.store import Store
from meme57.tracking.trials import STATE, StudyRun, TrialRun


@pytest.fixture
def study(store: Store, active: ActiveRun) -> StudyRun:
    return StudyRun(store.uri, active.experiment_id, active.parent_run_id, "Pong")


@pytest.mark.parametrize(
    ("state", "status"),
    [("COMPLETE", "FINISHED"), ("PRUNED", "FINISHED"), ("FAIL", "FAILED"), ("STOPPED", "KILLED")],
)
def test_a_trial_is_a_child_with_its_curve_parameters_and_status(
    study: StudyRun, active: ActiveRun, state: str, status: str
) -> None:
    trial = TrialRun(study, "trial-0003", {"learner.learning_rate": 0.1}, None)
    assert trial.run_id is not None
    trial.report({"score": 0.5}, frames=100)
    trial.report({"score": 0.7}, frames=200)
    trial.close(state, "why")
    run = active.client.get_run(trial.run_id)
    assert (run.info.status, run.data.tags[STATE], run.data.tags["meme57.note"]) == (status, state, "why")
    assert (run.info.run_name, run.data.tags[PARENT]) == ("trial-0003", study.run_id)
    assert run.data.params == {"learner.learning_rate": "0.1"}
    curve = active.client.get_metric_history(trial.run_id, "score")
    assert [(metric.step, metric.value) for metric in curve] == [(100, 0.5), (200, 0.7)]


def test_a_trial_that_goes_on_is_the_same_run(study: StudyRun, active: ActiveRun) -> None:
    first = TrialRun(study, "trial-0000", {}, None)
    first.close("STOPPED")
    second = TrialRun(study, "trial-0000", {}, first.run_id)
    assert second.run_id == first.run_id
    assert active.client.get_run(str(first.run_id)).info.status == "RUNNING"


def test_a_resumed_trial_tells_no_step_twice(study: StudyRun, active: ActiveRun) -> None:
    first = TrialRun(study, "trial-0000", {}, None)
    first.report({"score": 0.5}, frames=100)
    first.close("STOPPED")
    second = TrialRun(study, "trial-0000", {}, first.run_id)
    for frames in (100, 200):
        second.report({"score": 0.5}, frames=frames)
    second.close("COMPLETE")
    assert [point.step for point in active.client.get_metric_history(str(first.run_id), "score")] == [100, 200]


def test_a_store_that_refuses_does_not_stop_a_trial(study: StudyRun) -> None:
    trial = TrialRun(StudyRun(study.tracking_uri, "987654321", study.run_id, "Pong"), "trial-0000", {}, None)
    trial.report({"score": 1.0}, frames=1)
    trial.close("COMPLETE")
    assert trial.run_id is None


def test_without_a_study_run_nothing_is_written() -> None:
    trial = TrialRun(None, "trial-0000", {}, None)
    trial.report({"score": 1.0}, frames=1)
    trial.close("FAIL", "why")
    assert trial.run_id is None


def test_a_store_that_is_damaged_costs_a_trial_nothing(tmp_path: Path, caplog) -> None:
    """What SQLAlchemy says to it is no `MlflowException`."""
    (tmp_path / "mlflow.db").write_bytes(b"garbage" * 1_000)
    run = TrialRun(StudyRun(f"sqlite:///{tmp_path}/mlflow.db", "1", "0" * 32, "tune-x"), "trial-0000", {}, None)
    run.report({"score": 1.0}, frames=1)
    run.close("COMPLETE")
    assert run.run_id is None
    assert "trial-0000 is not followed in MLflow" in caplog.text


def test_a_study_is_followed_where_the_hook_opened_a_run(active: ActiveRun, store: Store) -> None:
    run = TrackingRun(
        run_id=active.run_id, parent_run_id=active.parent_run_id, experiment_id=active.experiment_id,
        tracking_uri=store.uri, created="then", commit="abc",
    )  # fmt: skip
    expected = StudyRun(store.uri, active.experiment_id, active.parent_run_id, "Pong", "member")
    assert StudyRun.of(run, "Pong", kind="member") == expected
    assert StudyRun.of({**run, "run_id": ""}, "Pong") is None


def test_a_trial_that_was_deleted_meanwhile_ends_with_a_warning(study: StudyRun, active: ActiveRun, caplog) -> None:
    trial = TrialRun(study, "trial-0000", {}, None)
    active.client.delete_run(str(trial.run_id))
    trial.close("COMPLETE")
    assert f"run {trial.run_id} stays open in MLflow" in caplog.text
