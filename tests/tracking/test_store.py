from __future__ import annotations

import http.server
import threading
from pathlib import Path

import pytest

from meme57.errors import TrackingError
from meme57.tracking.store import Store, create_store, experiment_id, tracking_uri


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


def test_creating_twice_keeps_what_is_there(store: Store) -> None:
    project = Path(store.uri.removeprefix("sqlite:///")).parents[1]
    first = experiment_id(store, "kept")
    assert experiment_id(create_store(project), "kept") == first


def test_artifacts_lie_beside_the_database(store: Store, experiment: str) -> None:
    location = store.client().get_experiment(experiment).artifact_location
    assert location.startswith(f"file://{Path(store.uri.removeprefix('sqlite:///')).parent}/artifacts/")


def test_unreachable_server_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        TrackingError, match=r"http://127\.0\.0\.1:9 does not answer .*unset MLFLOW_TRACKING_URI"
    ) as info:
        create_store(tmp_path, "http://127.0.0.1:9")
    assert "\n" not in str(info.value)


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
