from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from meme57.config import parse_parameters
from meme57.errors import RunConflictError
from meme57.files import write_json
from meme57.lock import hold
from meme57.tracking.run_record import (
    TrackingRun,
    at_work,
    check_identity,
    new_record,
    read_record,
    record_path,
    refuse_live_run,
    refuse_lookalike,
    refuse_second_writer,
    remove_run,
)

GIVEN = TrackingRun(run_id="c", parent_run_id="p", experiment_id="1", tracking_uri="u", created="then", commit="abc")


def test_record_is_read_as_written(tmp_path: Path) -> None:
    parameters = parse_parameters({"env": {"game": "pong"}})
    record = new_record(parameters, GIVEN)
    assert (record["run_name"], record["game"], record["mlflow_run_id"]) == ("Pong-s1", "Pong", "p")
    assert read_record(tmp_path, "Pong-s1") is None
    write_json(record_path(tmp_path, "Pong-s1"), record)
    assert read_record(tmp_path, "Pong-s1") == record


def test_a_record_of_the_first_versions_is_read(tmp_path: Path) -> None:
    record = dict(new_record(parse_parameters({"env": {"game": "Pong"}}), GIVEN))
    del record["configuration"], record["total_frames"]
    write_json(record_path(tmp_path, "Pong-s1"), record)
    assert read_record(tmp_path, "Pong-s1") == record


@pytest.mark.parametrize("content", ["{", "{}", "[]", "5", "null", '"text"', "\x00"])
def test_damaged_record_says_what_helps(tmp_path: Path, content: str) -> None:
    path = record_path(tmp_path, "Pong-s1")
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(RunConflictError, match=r"run\.fresh=true"):
        read_record(tmp_path, "Pong-s1")


def test_identity_lets_the_length_change_and_nothing_that_shapes_learning() -> None:
    record = new_record(parse_parameters({"env": {"game": "Pong"}}), GIVEN)
    check_identity(record, parse_parameters({"env": {"game": "Pong"}, "run": {"total_frames": 5}}))
    with pytest.raises(RunConflictError, match=r"run\.name=Pong-s1-b.*run\.fresh=true") as info:
        check_identity(record, parse_parameters({"env": {"game": "Pong"}, "learner": {"batch_size": 3}}))
    assert "\n" not in str(info.value)


def test_remove_takes_the_run_from_every_layer_and_nothing_else(tmp_path: Path) -> None:
    for layer in ("02_intermediate", "06_models"):
        for run in ("Pong-s1", "Pong-s10"):
            write_json(tmp_path / "data" / layer / run / "x.json", {})
    removed = remove_run(tmp_path, "Pong-s1")
    assert [path.parent.name for path in removed] == ["02_intermediate", "06_models"]
    assert sorted(path.name for path in (tmp_path / "data").glob("*/*")) == ["Pong-s10", "Pong-s10"]


@pytest.mark.parametrize("name", ["", ".", "..", "../conf", "a/b", "/etc"])
def test_remove_refuses_names_that_lead_elsewhere(tmp_path: Path, name: str) -> None:
    write_json(tmp_path / "data" / "06_models" / "a" / "b" / "x.json", {})
    with pytest.raises(RunConflictError, match="nothing was removed"):
        remove_run(tmp_path, name)
    assert (tmp_path / "data" / "06_models" / "a" / "b" / "x.json").exists()


def test_remove_refuses_a_link(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    write_json(target / "x.json", {})
    (tmp_path / "data" / "06_models").mkdir(parents=True)
    (tmp_path / "data" / "06_models" / "Pong-s1").symlink_to(target)
    with pytest.raises(RunConflictError, match="is a link"):
        remove_run(tmp_path, "Pong-s1")
    assert (target / "x.json").exists()


@pytest.mark.parametrize("change", [{"fingerprint": 5}, {"mlflow_run_id": None}, {"seed": "1"}, {"configuration": []}])
def test_a_record_with_other_types_is_damaged(tmp_path: Path, change: dict[str, object]) -> None:
    record = new_record(parse_parameters({"env": {"game": "Pong"}}), GIVEN)
    write_json(record_path(tmp_path, "Pong-s1"), {**record, **change})
    with pytest.raises(RunConflictError, match=rf"{next(iter(change))} is of another type: .*run\.fresh=true"):
        read_record(tmp_path, "Pong-s1")


def test_what_differs_is_named() -> None:
    record = new_record(parse_parameters({"env": {"game": "Pong"}}), GIVEN)
    other = parse_parameters({"env": {"game": "Pong"}, "learner": {"batch_size": 3}, "loss": {"kappa": float("inf")}})
    with pytest.raises(RunConflictError, match=r"loss\.kappa 0\.01, now 'Infinity'; learner\.batch_size 64, now 3\)"):
        check_identity(record, other)
    del record["configuration"]  # written by an earlier version
    with pytest.raises(RunConflictError, match=rf"\({record['fingerprint']}, now {other.fingerprint()}\)"):
        check_identity(record, other)


def test_a_run_that_is_alive_is_neither_removed_nor_joined(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "06_models" / "Pong-s1" / "checkpoints"
    write_json(record_path(tmp_path, "Pong-s1"), {})
    with hold(folder):
        for ask in (remove_run, refuse_live_run, refuse_second_writer):
            with pytest.raises(RunConflictError, match="is in use by process"):
                ask(tmp_path, "Pong-s1")
        refuse_live_run(tmp_path, "Pong-s2")
    assert record_path(tmp_path, "Pong-s1").exists()
    (folder / ".lock").write_text("left by a process that was killed")
    refuse_live_run(tmp_path, "Pong-s1")
    assert len(remove_run(tmp_path, "Pong-s1")) == 2
    assert not folder.parent.exists()


def test_a_run_at_work_is_not_removed_and_others_may_work_on_it(tmp_path: Path) -> None:
    write_json(record_path(tmp_path, "Pong-s1"), {})
    write_json(tmp_path / "data" / "06_models" / "Pong-s1" / "x.json", {})
    with at_work(tmp_path, "Pong-s1"), at_work(tmp_path, "Pong-s1"):
        for ask in (remove_run, refuse_live_run):
            with pytest.raises(RunConflictError, match="is in use by process"):
                ask(tmp_path, "Pong-s1")
        refuse_second_writer(tmp_path, "Pong-s1")
        refuse_live_run(tmp_path, "Pong-s2")
    assert len(remove_run(tmp_path, "Pong-s1")) == 2
    assert list((tmp_path / "data").glob("*/*")) == []


def test_a_run_that_is_not_there_leaves_no_folder(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert remove_run(tmp_path, "Pong-s1") == []
    assert list((tmp_path / "data").glob("*/*")) == []


def test_while_a_run_is_removed_nobody_begins_to_work_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "data" / "06_models" / "Pong-s1"
    write_json(folder / "x.json", {})
    write_json(record_path(tmp_path, "Pong-s1"), {})
    real, refused = shutil.rmtree, []

    def remove(path: Path) -> None:
        if path == folder:
            with pytest.raises(RunConflictError) as caught:
                at_work(tmp_path, "Pong-s1").__enter__()
            refused.append(caught.value)
        real(path)

    monkeypatch.setattr(shutil, "rmtree", remove)
    assert len(remove_run(tmp_path, "Pong-s1")) == 2
    assert len(refused) == 1


@pytest.mark.parametrize("name", ["tune-Pong", "suite-smoke", "Tune-Pong"])
def test_a_studys_and_a_suites_folders_are_not_removed(tmp_path: Path, name: str) -> None:
    write_json(tmp_path / "data" / "07_model_output" / name / "x.json", {})
    with pytest.raises(RunConflictError, match="nothing was removed"):
        remove_run(tmp_path, name)
    assert (tmp_path / "data" / "07_model_output" / name / "x.json").exists()


@pytest.mark.parametrize("name", ["pong-s1", "PONG-S1", "Pong-s1.", "Pong-s1.."])
def test_a_name_that_some_machines_take_for_another_is_refused(tmp_path: Path, name: str) -> None:
    write_json(tmp_path / "data" / "06_models" / "Pong-s1" / "x.json", {})
    with pytest.raises(RunConflictError, match=r"'Pong-s1', which is one folder with .* on some machines") as caught:
        refuse_lookalike(tmp_path, name)
    assert "\n" not in str(caught.value)
    refuse_lookalike(tmp_path, "Pong-s1")
    refuse_lookalike(tmp_path, "Pong-s10")
    write_json(tmp_path / "data" / "06_models" / name / "x.json", {})
    refuse_lookalike(tmp_path, name)  # made before this was looked at


def test_a_record_of_another_run_is_refused(tmp_path: Path) -> None:
    write_json(record_path(tmp_path, "copy"), new_record(parse_parameters({"env": {"game": "Pong"}}), GIVEN))
    with pytest.raises(RunConflictError, match=r"of run 'Pong-s1'.*run\.name=Pong-s1.*run\.fresh=true") as info:
        read_record(tmp_path, "copy")
    assert "\n" not in str(info.value)
