from __future__ import annotations

import http.server
import sqlite3
import threading
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from meme57.addresses import local_path, sqlite_path
from meme57.errors import AddressError, TrackingError
from meme57.tracking.store import (
    Store,
    _locked,
    create_store,
    create_store_or_local,
    experiment_id,
    first_line,
    suppress_existing,
    tracking_uri,
)
from meme57.tracking.trials import StudyRun, TrialRun


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_default_store_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert tracking_uri(tmp_path) == f"sqlite:///{tmp_path}/mlruns/mlflow.db"


def test_environment_wins_over_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tracking_uri(tmp_path, "http://configured") == "http://configured"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://environment")
    assert tracking_uri(tmp_path, "http://configured") == "http://environment"


def test_relative_sqlite_path_is_meant_from_the_project(tmp_path: Path) -> None:
    assert tracking_uri(tmp_path, "sqlite:///other.db") == f"sqlite:///{tmp_path}/other.db"
    assert tracking_uri(tmp_path, "sqlite:////var/other.db") == "sqlite:////var/other.db"


@pytest.mark.parametrize("name", ["a%20b", "a?b#c", "~ä [x]* 100%"])
def test_a_project_in_any_folder_has_its_store_in_it(tmp_path: Path, name: str) -> None:
    """MLflow looks for `a%20b` in `a b` for 100 s, and ends the path of `a?b` at the `?`, outside the project."""
    project = tmp_path / name
    store = create_store(project)
    client = store.client()
    run = client.create_run(experiment_id(store, "toy")).info.run_id
    (tmp_path / "note.txt").write_text("hello")
    client.log_artifact(run, str(tmp_path / "note.txt"))
    assert sqlite_path(store.uri) == project / "mlruns" / "mlflow.db"
    assert [path.parts[-5:-2] for path in project.rglob("note.txt")] == [("artifacts", "toy", run)]
    assert Path(mlflow.artifacts.download_artifacts(f"runs:/{run}/note.txt", tracking_uri=store.uri)).is_file()
    assert {path.name for path in tmp_path.iterdir()} == {name, "note.txt"}  # no folder under another name


@pytest.mark.parametrize("address", ["sqlite:///elsewhere", "sqlite:///elsewhere/text.db", "sqlite:///:memory:"])
def test_an_address_that_cannot_be_is_one_line_at_once(tmp_path: Path, address: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "text.db").write_text("no database, but text")
    with pytest.raises(AddressError) as info:
        create_store(tmp_path, address)
    assert "\n" not in str(info.value)


def test_creating_twice_keeps_what_is_there(store: Store) -> None:
    project = sqlite_path(store.uri).parents[1]
    first = experiment_id(store, "kept")
    assert experiment_id(create_store(project), "kept") == first


def test_artifacts_lie_beside_the_database(store: Store, experiment: str) -> None:
    location = local_path(store.client().get_experiment(experiment).artifact_location)
    assert location is not None
    assert location.parent == store.artifacts == sqlite_path(store.uri).parent / "artifacts"


def test_unreachable_server_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        TrackingError, match=r"http://127\.0\.0\.1:9 does not answer .*unset MLFLOW_TRACKING_URI"
    ) as info:
        create_store(tmp_path, "http://127.0.0.1:9")
    assert "\n" not in str(info.value)


def test_where_no_server_answers_the_run_is_written_here(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = create_store_or_local(tmp_path, "http://127.0.0.1:9")
    assert store.uri == f"sqlite:///{tmp_path}/mlruns/mlflow.db"
    assert "does not answer" in caplog.text
    assert "this run is written to mlruns/mlflow.db instead" in caplog.text
    assert create_store_or_local(tmp_path, "sqlite:///other.db").uri == f"sqlite:///{tmp_path}/other.db"


def test_a_store_of_an_unknown_kind_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="the MLflow store elsewhere://x cannot be used") as info:
        create_store(tmp_path, "elsewhere://x")
    assert "\n" not in str(info.value)


def test_a_warning_about_the_store_holds_no_password() -> None:
    error = MlflowException("\nAPI request to https://me:s3cret@mlflow.example/api failed\nwith a trace")
    assert first_line(error) == "API request to https://me:***@mlflow.example/api failed"


@pytest.mark.parametrize("words", ["database or disk is full", "disk I/O error"])
def test_a_full_disk_is_no_damaged_database(words: str) -> None:
    """It told people to move their whole history away."""
    error = MlflowException(f"(sqlite3.OperationalError) {words}")
    error.__cause__ = sqlite3.OperationalError(words)
    assert first_line(error).endswith(": make room on the disk of the database, by default mlruns/mlflow.db")


def test_a_damaged_database_of_ours_says_how_to_move_it_away(tmp_path: Path) -> None:
    (tmp_path / "mlruns").mkdir()
    (tmp_path / "mlruns" / "mlflow.db").write_bytes(b"no database" * 100)
    with pytest.raises(TrackingError, match=r"cannot be used: file is not a database: .*`mv mlruns/mlflow\.db") as info:
        create_store(tmp_path)
    assert "\n" not in str(info.value)


def test_a_lock_that_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "mlruns" / "mlflow.lock").mkdir(parents=True)
    with pytest.raises(TrackingError, match=r"mlflow\.db cannot be used: .*Is a directory"):
        create_store(tmp_path)


def test_who_creates_a_store_waits_for_who_does_so_already(tmp_path: Path) -> None:
    """Several processes on a fresh database would all fail in its migration."""
    entered = threading.Event()

    def enter() -> None:
        with _locked(tmp_path / "mlflow.lock"):
            entered.set()

    with _locked(tmp_path / "mlflow.lock"):
        other = threading.Thread(target=enter)
        other.start()
        assert not entered.wait(0.2)
    other.join(60)
    assert entered.is_set()


def test_an_experiment_that_another_process_made_meanwhile_is_there(store: Store) -> None:
    for name in ("raced", "raced"):
        with suppress_existing():
            store.client().create_experiment(name)
    with pytest.raises(MlflowException, match="name"), suppress_existing():
        store.client().create_experiment("")


def test_a_server_that_is_no_mlflow_is_one_line(tmp_path: Path) -> None:
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)  # answers 501 to everything
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(TrackingError, match="cannot be used") as info:
            create_store(tmp_path, f"http://127.0.0.1:{server.server_port}")
        assert "\n" not in str(info.value)
    finally:
        server.shutdown()


def test_deleted_experiment_says_how_to_bring_it_back(store: Store) -> None:
    number = experiment_id(store, "gone")
    store.client().delete_experiment(number)
    with pytest.raises(TrackingError, match=f"mlflow experiments restore -x {number}"):
        experiment_id(store, "gone")


def test_models_lie_in_the_runs_store_whatever_the_shell_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`MLFLOW_REGISTRY_URI` once sent model versions to another database without a word."""
    elsewhere = tmp_path / "elsewhere.db"
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", f"sqlite:///{elsewhere}")
    store = create_store(tmp_path)
    for client in (store.client(), trial_client(store)):
        name = f"meme57-{id(client)}"
        client.create_registered_model(name)
        assert MlflowClient(tracking_uri=store.uri, registry_uri=store.uri).get_registered_model(name).name == name
    assert not elsewhere.exists()


def trial_client(store: Store) -> MlflowClient:
    run = TrialRun(StudyRun(store.uri, experiment_id(store, "study"), "0" * 32, "tune-x"), "trial-0", {}, None)
    return run._client
