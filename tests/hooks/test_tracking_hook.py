from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import toy_registry
from mlflow.entities import Run

import meme57.hooks.tracking
from meme57 import __version__
from meme57.actors.ray_cluster import connect, import_ray
from meme57.addresses import sqlite_address
from meme57.api.find import find_folder
from meme57.checkpoints.source import Source, as_text, check_source, checkpoint_source
from meme57.config import parse_parameters
from meme57.errors import Interrupted, RefusalError, ReplayError, own_error
from meme57.evaluation.scores import check_episodes, check_film, check_scores
from meme57.files import read_json, write_json
from meme57.hooks.one_line import OneLineError
from meme57.hooks.tracking import code_version
from meme57.learning.seed_replay import load_seed_replay
from meme57.learning.warm_start import keep_initial_policy
from meme57.stopping import stop_requested
from meme57.tracking.run_record import record_path
from meme57.tracking.runs import active_run
from meme57.tuning.storage import open_storage
from meme57.tuning.study import Place, open_study

Go = Callable[..., None]
Runs = Callable[[], list[Run]]

BEST, OTHER = (Source(checkpoint="checkpoint-000002", sha256=digits * 32) for digits in ("ab", "cd"))
PROTOCOL = {"protocol": {"name": "as_trained"}}
EPISODES = pd.DataFrame({"agent": ["teacher"], "student_sha256": ["s"], "protocol": ["sticky"]})


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


def _newer_format(project: Path) -> None:
    write_json(project / "checkpoint-000001" / "manifest.json", {"format": 99})
    checkpoint_source(project / "checkpoint-000001")


def _other_seed_replay(project: Path) -> None:
    write_json(project / "record.json", {"settings": {"seed": 2}})
    load_seed_replay(parse_parameters({"env": {"game": "Pong"}}), project)


def _other_study(project: Path) -> None:
    space = [{"name": "learner.batch_size", "type": "int", "low": 2, "high": 6}]
    for frames in (100_000, 200_000):
        settings = parse_parameters({"env": {"game": "Pong"}, "tune": {"space": space, "frames": frames}})
        open_study(settings, Place(project / "study.journal", project / "trials"))


def _without_ray(project: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "ray", None)
        import_ray("tune.executor=ray")


def _no_cluster(project: Path) -> None:
    class Ray:
        is_initialized = staticmethod(lambda: False)
        exceptions = SimpleNamespace(RayError=RuntimeError)

        def init(self, **_: object) -> None:
            raise ConnectionError("nobody answers")

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", "nowhere:6379")
        connect(Ray())


REFUSALS: dict[str, Callable[[Path], object]] = {
    "of checkpoint-000002 ": lambda _: check_source(OTHER, BEST, what="the scores are", maker="evaluate"),
    "the scores are of run 'b'": lambda _: check_scores(
        {"run": "b", "source": BEST}, run_name="a", source=BEST, student_sha256=""
    ),
    "of another student": lambda _: check_scores(
        {"run": "a", "source": BEST, "student_sha256": "x"}, run_name="a", source=BEST, student_sha256="y"
    ),
    "the episodes are not those": lambda _: check_episodes(EPISODES, {"agents": {}}),
    "were played under sticky": lambda _: check_episodes(
        EPISODES, {"student_sha256": "s", "agents": {"teacher": {"episodes": 1}}, **PROTOCOL}
    ),
    "the film shows protocol sticky": lambda _: check_film(as_text(BEST, "sticky").encode(), PROTOCOL),
    "has format 99": _newer_format,
    "collected with other settings": _other_seed_replay,
    "exists with another space": _other_study,
    "nonsense://x cannot be opened": lambda project: open_storage("nonsense://x", project, heartbeat_seconds=60),
    "it is a folder": lambda project: open_storage(sqlite_address(project), project, heartbeat_seconds=60),
    "needs Ray": _without_ray,
    "could not reach a Ray cluster": _no_cluster,
    "there is no run 'Pong-s9'": lambda project: find_folder("Pong-s9", "teacher", project=project),
    "@nobody cannot be read": lambda project: find_folder("models:/meme57-pong@nobody", project=project),
    "is no address of a policy": lambda project: find_folder("models:/meme57-pong", project=project),
    "is no teacher": lambda project: keep_initial_policy(lambda: project, project / "kept", named="here"),
}
"""What the message says -> how a node refuses what was asked for."""


@pytest.mark.parametrize("words", REFUSALS)
def test_every_refusal_of_a_node_leaves_nothing_behind(
    go: Go, runs: Runs, project: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    monkeypatch.setattr(toy_registry, "behaviour", "refuse")
    monkeypatch.setattr(toy_registry, "refuse", lambda: REFUSALS[words](project))
    with pytest.raises(OneLineError, match=words) as caught:
        go("setup")
    assert isinstance(own_error(caught.value), RefusalError)
    assert runs() == []


DAMAGE: dict[str, Callable[[Path], object]] = {
    "manifest.json is missing": lambda project: checkpoint_source(project / "checkpoint-000001"),
    "study.journal cannot be opened": lambda project: open_storage(
        None, project / "study.journal", heartbeat_seconds=60
    ),
}


@pytest.mark.parametrize("words", DAMAGE)
def test_damage_is_no_refusal(go: Go, runs: Runs, project: Path, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    (project / "study.journal").write_text("{\n")
    monkeypatch.setattr(toy_registry, "behaviour", "refuse")
    monkeypatch.setattr(toy_registry, "refuse", lambda: DAMAGE[words](project))
    with pytest.raises(OneLineError, match=words):
        go("setup")
    assert _statuses(runs()) == {"Pong-s1": "FAILED", "Pong-s1 / setup": "FAILED"}


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
