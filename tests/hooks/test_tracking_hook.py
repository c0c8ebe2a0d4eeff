from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import toy_registry
from mlflow.entities import Run

import meme57.hooks.tracking
from meme57 import __version__
from meme57.errors import Interrupted, ReplayError
from meme57.files import read_json
from meme57.hooks.one_line import OneLineError
from meme57.hooks.tracking import code_version
from meme57.stopping import stop_requested
from meme57.tracking.run_record import record_path
from meme57.tracking.runs import active_run

Go = Callable[..., None]
Runs = Callable[[], list[Run]]


def _statuses(runs: list[Run]) -> dict[str, str]:
    return {run.info.run_name: run.info.status for run in runs}


def test_every_pipeline_run_is_a_child_of_the_run(go: Go, runs: Runs, project: Path) -> None:
    go("setup")
    go("learn")
    go("evaluate")
    parent, *children = runs()
    assert parent.info.run_id == read_json(record_path(project, "Pong-s1"))["mlflow_run_id"]
    assert _statuses([parent, *children]) == {
        "Pong-s1": "FINISHED",
        "Pong-s1 / setup": "FINISHED",
        "Pong-s1 / learn": "FINISHED",
        "Pong-s1 / evaluate": "FINISHED",
    }
    assert {child.data.tags["mlflow.parentRunId"] for child in children} == {parent.info.run_id}
    assert active_run() is None


def test_facts_of_a_run_are_written(go: Go, runs: Runs) -> None:
    go(environment="test")
    _, child = runs()
    assert child.info.run_name == "Pong-s1 / default"
    assert child.data.metrics["loss"] == 0.5
    assert child.data.params["env.num_envs"] == "2"
    assert child.data.params["learner.batch_size"] == "64"  # a default, not in any file
    tags = child.data.tags
    assert (tags["meme57.env"], tags["meme57.game"], tags["meme57.seed"]) == ("test", "Pong", "1")
    assert ", kedro 1." in tags["meme57.versions"]
    assert len([tag for tag in tags if tag.startswith("meme57.")]) <= 10
    assert [output.step for output in child.outputs.model_outputs] == [100]


def test_the_code_of_a_run_is_named(tmp_path: Path) -> None:
    def git(folder: Path, *words: str) -> None:
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)

    assert code_version(tmp_path) == f"v{__version__}"  # no repository
    git(tmp_path, "init")
    git(tmp_path, "commit", "--allow-empty", "--message", "Mine")
    assert re.fullmatch(rf"v{re.escape(__version__)}\+[0-9a-f]{{7,}}", code_version(tmp_path))
    checkout = Path(meme57.hooks.tracking.__file__).parents[3]
    if (checkout / ".git").exists():
        assert re.fullmatch(r"[0-9a-f]{7,}(-dirty)?", code_version(checkout))


def test_error_of_ours_is_one_line_and_failed(go: Go, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toy_registry, "behaviour", "error")
    with pytest.raises(OneLineError, match="the replay is broken") as info:
        go()
    assert info.value.exit_code == 1
    cause = info.value.__cause__
    assert isinstance(cause, ReplayError)
    assert _statuses(runs()) == {"Pong-s1": "FAILED", "Pong-s1 / default": "FAILED"}
    assert runs()[1].data.metrics["loss"] == 0.5  # what was waiting was written


def test_a_refused_run_leaves_nothing_behind(go: Go, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toy_registry, "behaviour", "refuse")
    with pytest.raises(OneLineError, match="this game is refused"):
        go("setup")
    assert runs() == []
    monkeypatch.setattr(toy_registry, "behaviour", "finish")
    go("setup")
    before = _statuses(runs())
    monkeypatch.setattr(toy_registry, "behaviour", "refuse")
    with pytest.raises(OneLineError, match="this game is refused"):
        go("setup")
    assert _statuses(runs()) == before == {"Pong-s1": "FINISHED", "Pong-s1 / setup": "FINISHED"}


def test_a_refusal_after_work_was_done_is_a_failure(go: Go, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toy_registry, "behaviour", "refuse late")
    with pytest.raises(OneLineError, match="this student is refused"):
        go()
    assert _statuses(runs()) == {"Pong-s1": "FAILED", "Pong-s1 / default": "FAILED"}


def test_fault_keeps_its_traceback(go: Go, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toy_registry, "behaviour", "fault")
    with pytest.raises(ZeroDivisionError):
        go()
    assert _statuses(runs()) == {"Pong-s1": "FAILED", "Pong-s1 / default": "FAILED"}
    assert runs()[1].data.tags["meme57.note"] == "ZeroDivisionError: a fault of ours"


def test_error_inside_a_dataset_is_one_line_too(go: Go, project: Path) -> None:
    go()
    index = project / "data" / "06_models" / "Pong-s1" / "checkpoints" / "index.json"
    index.write_text("{")
    with pytest.raises(OneLineError, match=r"index\.json is damaged") as info:
        go("evaluate")
    assert "\n" not in info.value.message


def test_signal_ends_in_killed_and_gives_the_handlers_back(
    go: Go, runs: Runs, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(toy_registry, "behaviour", "signal")
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(OneLineError, match="stopped after frames-100") as info:
        go()
    assert info.value.exit_code == 130
    assert "SIGTERM: stopping" in capfd.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is before
    assert _statuses(runs()) == {"Pong-s1": "KILLED", "Pong-s1 / default": "KILLED"}
    monkeypatch.setattr(toy_registry, "behaviour", "finish")
    go()
    assert not stop_requested()
    assert _statuses(runs())["Pong-s1"] == "FINISHED"


def test_signal_in_a_node_that_does_not_listen_stops_before_the_next(
    go: Go, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toy_registry, "behaviour", "deaf")
    with pytest.raises(OneLineError, match="stopped before evaluate_it") as info:
        go()
    assert isinstance(info.value.__cause__, Interrupted)
    assert _statuses(runs())["Pong-s1 / default"] == "KILLED"


def test_unreachable_server_leaves_the_run_on_this_machine(
    go: Go, runs: Runs, project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    go()
    assert "http://127.0.0.1:9 does not answer" in caplog.text
    assert "this run is written to mlruns/mlflow.db instead" in caplog.text
    assert record_path(project, "Pong-s1").exists()
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert _statuses(runs()) == {"Pong-s1": "FINISHED", "Pong-s1 / default": "FINISHED"}
    assert runs()[1].data.metrics["loss"] == 0.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("server: [", r"mlflow\.yml cannot be read: "),
        ("server: 5", r"conf/base/mlflow\.yml: server=5 is not a group: write `server: {mlflow_tracking_uri: \.\.\.}`"),
        ("tracking: {experiment: here}", r"tracking\.experiment='here' is not a group"),
        ("a: b: c", r"mlflow\.yml cannot be read: "),
    ],
)
def test_a_damaged_configuration_of_mlflow_is_one_line(go: Go, project: Path, text: str, message: str) -> None:
    (project / "conf" / "base" / "mlflow.yml").write_text(text)
    with pytest.raises(OneLineError, match=message) as caught:
        go("setup")
    assert "\n" not in caught.value.message


def test_configured_names_are_used(go: Go, runs: Runs, project: Path) -> None:
    (project / "conf" / "base" / "mlflow.yml").write_text(
        "server: {mlflow_tracking_uri: 'sqlite:///mlruns/mlflow.db'}\n"
        "tracking: {experiment: {name: elsewhere}, run: {name: mine}}\n"
    )
    go("setup")
    assert [run.info.run_name for run in runs()] == ["Pong-s1", "mine"]
