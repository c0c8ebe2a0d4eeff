from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from mlflow.entities import LoggedModelOutput
from mlflow.exceptions import MlflowException

from meme57.errors import TrackingError
from meme57.tracking.checkpoints import log_checkpoint
from meme57.tracking.deletion import delete_runs
from meme57.tracking.process import is_alive, process_tags, start_time
from meme57.tracking.runs import (
    NOTE,
    PARENT,
    ActiveRun,
    _only_parent,
    close_stale_runs,
    create_run,
    flatten,
    log_file,
    log_metrics,
    open_run,
)
from meme57.tracking.store import Store


def _reopened(active: ActiveRun, **changes: object) -> ActiveRun:
    arguments = {
        "run_name": "Pong-s1",
        "pipeline": "evaluate",
        "parent_run_id": active.parent_run_id,
        "tags": {"meme57.fingerprint": "abc"},
        "parameters": {},
    }
    return open_run(active.client, active.experiment_id, **{**arguments, **changes})  # type: ignore[arg-type]


def _status(active: ActiveRun, run_id: str) -> str:
    return str(active.client.get_run(run_id).info.status)


def test_child_hangs_under_its_parent_with_parameters_and_tags(active: ActiveRun) -> None:
    child = active.client.get_run(active.run_id)
    assert child.info.run_name == "Pong-s1 / learn"
    assert child.data.tags[PARENT] == active.parent_run_id
    assert child.data.params == {"learner.batch_size": "8"}
    assert child.data.tags["meme57.fingerprint"] == "abc"
    assert active.client.get_run(active.parent_run_id).info.run_name == "Pong-s1"


def test_known_parent_is_reopened_and_closed_again(active: ActiveRun) -> None:
    active.close("KILLED", "stopped")
    assert _status(active, active.parent_run_id) == "KILLED"
    second = _reopened(active)
    assert second.parent_run_id == active.parent_run_id
    assert _status(active, second.parent_run_id) == "RUNNING"
    second.close("FINISHED")
    parent = active.client.get_run(active.parent_run_id)
    assert parent.info.status == "FINISHED"
    assert parent.data.tags[NOTE] == ""


def test_parent_stays_open_while_another_child_runs(active: ActiveRun) -> None:
    second = _reopened(active)
    second.close("FINISHED")
    assert _status(active, active.parent_run_id) == "RUNNING"
    active.close("FAILED", "why")
    assert _status(active, active.parent_run_id) == "FAILED"
    assert active.client.get_run(active.run_id).data.tags[NOTE] == "why"


def test_what_another_machine_left_open_is_closed_once_nobody_works_on_the_run(active: ActiveRun) -> None:
    """As in a container, whose host has another name each time, or on a machine that was lost."""
    elsewhere = {"meme57.process": "another-host 1 2"}
    lost = create_run(
        active.client, active.experiment_id, "lost", {**elsewhere, "meme57.run_name": "Pong-s1", PARENT: "p"}, {}
    )
    other = create_run(
        active.client, active.experiment_id, "other", {**elsewhere, "meme57.run_name": "Pong-s1", PARENT: "q"}, {}
    )
    assert close_stale_runs(active.client, active.experiment_id, "Pong-s1") == []  # they may live
    assert close_stale_runs(active.client, active.experiment_id, "Pong-s1", abandoned="p") == [lost]
    assert (_status(active, lost), _status(active, other)) == ("KILLED", "RUNNING")


def test_a_refused_run_that_keeps_its_parent_did_not_finish(active: ActiveRun) -> None:
    active.discard(keep_parent=True)
    assert _status(active, active.parent_run_id) == "KILLED"


def test_parent_unknown_to_this_store_is_found_by_name_and_fingerprint(active: ActiveRun) -> None:
    assert _reopened(active, parent_run_id="0" * 32).parent_run_id == active.parent_run_id
    other = _reopened(active, parent_run_id="0" * 32, tags={"meme57.fingerprint": "other"})
    assert other.parent_run_id != active.parent_run_id


def test_without_a_record_a_new_parent_is_opened(active: ActiveRun) -> None:
    assert _reopened(active, parent_run_id=None).parent_run_id != active.parent_run_id


def test_run_of_a_dead_process_is_closed_and_a_live_one_is_not(store: Store, active: ActiveRun) -> None:
    script = f"""
import os
from meme57.tracking.runs import open_run
from meme57.tracking.store import Store
client = Store({store.uri!r}, None).client()
open_run(client, {active.experiment_id!r}, run_name="Pong-s1", pipeline="learn", parent_run_id=None, tags={{}},
         parameters={{}})
os._exit(9)
"""
    subprocess.run([sys.executable, "-c", script], check=False)
    closed = close_stale_runs(active.client, active.experiment_id, "Pong-s1")
    assert len(closed) == 2  # the child and its parent
    assert {_status(active, run) for run in closed} == {"KILLED"}
    assert _status(active, active.run_id) == "RUNNING"


@pytest.mark.parametrize("system", ["Linux", "Darwin"])
def test_reused_process_id_and_other_hosts(system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: system)
    tags = process_tags()
    assert is_alive(tags)
    host, pid, started = tags["meme57.process"].rsplit(" ", 2)

    def both(host: str, pid: str, started: str) -> set[bool]:
        """With today's tag, and with the three of older releases."""
        earlier = {"meme57.host": host, "meme57.pid": pid, "meme57.started": started}
        return {is_alive({"meme57.process": f"{host} {pid} {started}"}), is_alive(earlier)}

    assert both(host, pid, started) == {True}
    assert both(host, pid, "1") == {False}  # same number, started at another time
    assert both("elsewhere", "1", started) == {True}
    assert both(host, "1", start_time(1)) == {True}  # perhaps another person's
    assert both(host, "", started) == {False}
    assert is_alive({})  # nobody knows
    assert start_time(2**22 + 1) == ""  # no process has such a number


def test_a_hidden_process_counts_as_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """With `hidepid`, /proc says nothing of another person's process: that is not "it is gone"."""
    tags = process_tags()
    monkeypatch.setattr("meme57.tracking.process.start_time", lambda pid: "")
    assert is_alive(tags)
    host, _, started = tags["meme57.process"].rsplit(" ", 2)
    assert not is_alive({"meme57.process": f"{host} {2**22 + 1} {started}"})  # no process has such a number


def test_a_study_is_found_again_by_its_name_and_fingerprint(store: Store, experiment: str) -> None:
    def open_study(fingerprint: str) -> ActiveRun:
        return open_run(
            store.client(), experiment, run_name="Pong", pipeline="tune", parent_run_id=None, kind="study",
            tags={"meme57.fingerprint": fingerprint}, parameters={},
        )  # fmt: skip

    first, again, other = open_study("a"), open_study("a"), open_study("b")
    assert first.parent_run_id == again.parent_run_id != other.parent_run_id
    assert first.run_id != again.run_id


def test_scores_are_written_at_once(active: ActiveRun) -> None:
    log_metrics(active, {"iqm": 1.5}, step=100)
    [metric] = active.client.get_metric_history(active.run_id, "iqm")
    assert (metric.value, metric.step) == (1.5, 100)


def test_a_file_that_is_not_there_costs_a_warning(active: ActiveRun, tmp_path: Path, caplog) -> None:
    log_file(active, tmp_path / "film.mp4")
    assert "film.mp4 is not in MLflow" in caplog.text
    (tmp_path / "film.mp4").write_bytes(b"film")
    log_file(active, tmp_path / "film.mp4")
    assert [file.path for file in active.client.list_artifacts(active.run_id)] == ["film.mp4"]


def test_what_the_store_refuses_is_one_line(active: ActiveRun) -> None:
    for ask in (
        lambda: close_stale_runs(active.client, "no number", "Pong-s1"),
        lambda: delete_runs(active.client, "a'b"),
        lambda: open_run(
            active.client, "987654321", run_name="Pong-s1", pipeline="learn", parent_run_id=None, tags={}, parameters={}
        ),
    ):
        with pytest.raises(TrackingError, match=r"in experiment|not marked deleted") as info:
            ask()
        assert "\n" not in str(info.value)


def test_a_run_is_found_by_the_label_that_an_earlier_version_gave(active: ActiveRun) -> None:
    """`active` was opened as fingerprint abc."""
    today = {"parent_run_id": "", "tags": {"meme57.fingerprint": "today"}}
    assert _reopened(active, **today, former_fingerprint="abc").parent_run_id == active.parent_run_id
    assert _reopened(active, **today, former_fingerprint="other").parent_run_id != active.parent_run_id


def test_a_deleted_run_takes_its_children_along_and_leaves_other_kinds(active: ActiveRun) -> None:
    other = _reopened(active, run_name="Pong-s2", parent_run_id=None)
    study = _reopened(active, kind="study", parent_run_id=None)
    assert study.parent_run_id != active.parent_run_id
    assert delete_runs(active.client, "Pong-s1") >= 2  # other tests' runs of that name too

    def stage(run_id: str) -> str:
        return str(active.client.get_run(run_id).info.lifecycle_stage)

    assert {stage(active.run_id), stage(active.parent_run_id)} == {"deleted"}
    assert {stage(study.parent_run_id), stage(other.run_id), stage(other.parent_run_id)} == {"active"}


def test_where_others_share_the_store_only_ones_own_runs_are_deleted(active: ActiveRun) -> None:
    """Two machines with one server both have the default name."""
    theirs = _reopened(active, parent_run_id=None, tags={"meme57.fingerprint": "theirs"})
    assert theirs.parent_run_id != active.parent_run_id
    assert delete_runs(active.client, "Pong-s1", parent=active.parent_run_id) == 2
    stages = [
        active.client.get_run(run).info.lifecycle_stage
        for run in (active.run_id, active.parent_run_id, theirs.run_id, theirs.parent_run_id)
    ]
    assert stages == ["deleted", "deleted", "active", "active"]


def test_a_deleted_runs_checkpoints_are_deleted_and_policies_stay(active: ActiveRun, tmp_path: Path) -> None:
    """`mlflow gc` frees no checkpoint that is not deleted itself."""
    (tmp_path / "weights").write_text("w")
    checkpoints = [
        log_checkpoint(active.client, active.run_id, f"c{n}", tmp_path, frames=n, metrics={}, files=["weights"])
        for n in (1, 2)
    ]
    policy = active.client.create_logged_model(active.experiment_id, "policy", active.run_id, model_type="policy")
    active.client.log_outputs(active.run_id, models=[LoggedModelOutput(policy.model_id, 1)])
    active.client.delete_logged_model(checkpoints[0])  # an earlier try got so far
    delete_runs(active.client, "Pong-s1")
    for model in checkpoints:
        with pytest.raises(MlflowException):
            active.client.get_logged_model(model)
    assert active.client.get_logged_model(policy.model_id).model_type == "policy"


def test_of_two_that_open_a_study_at_once_the_older_run_stays(store: Store, experiment: str) -> None:
    identity = {"meme57.run_name": "Pong", "meme57.fingerprint": "a", "meme57.kind": "study"}
    first, second = (create_run(store.client(), experiment, "Pong", identity, {}) for _ in range(2))
    older = min(first, second, key=lambda run: (store.client().get_run(run).info.start_time, run))
    for mine in (first, second):
        assert _only_parent(store.client(), experiment, mine, identity, "study") == older
    left = store.client().search_runs([experiment])
    assert [run.info.run_id for run in left] == [older]


def test_flatten_splits_long_values() -> None:
    flat = flatten({"a": {"b": 1}, "long": "x" * 600, "empty": ""})
    assert flat == {"a.b": "1", "long": "x" * 250, "long.1": "x" * 250, "long.2": "x" * 100, "empty": ""}


def test_more_parameters_than_one_batch(active: ActiveRun) -> None:
    many = {f"p{number}": number for number in range(250)}
    child = _reopened(active, parameters=many)
    assert len(active.client.get_run(child.run_id).data.params) == 250


def test_a_note_that_cannot_be_written_does_not_keep_a_run_open(active: ActiveRun) -> None:
    active.close("FAILED", "half a character: \ud800")
    run = active.client.get_run(active.run_id)
    assert (run.info.status, run.data.tags["meme57.note"]) == ("FAILED", "half a character: ?")


def test_a_run_with_the_old_name_of_a_parameter_is_reopened_and_keeps_it(active: ActiveRun) -> None:
    old = _reopened(active, parent_run_id=None, parameters={"evaluate": {"favourite": True}})
    log_metrics(old, {"score/favourite_return": 5.0}, step=100)
    again = _reopened(old, parameters={"evaluate": {"bandit_policy": True}})
    log_metrics(again, {"score/bandit_policy_return": 6.0}, step=200)
    assert again.parent_run_id == old.parent_run_id
    parent, first, second = (again.client.get_run(run) for run in (old.parent_run_id, old.run_id, again.run_id))
    assert parent.data.params == first.data.params == {"evaluate.favourite": "True"}
    assert second.data.params == {"evaluate.bandit_policy": "True"}
    assert first.data.metrics == {"score/favourite_return": 5.0}
