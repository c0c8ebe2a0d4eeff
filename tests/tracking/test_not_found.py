"""What a store does not say is never taken for "there is none": only its own "not found" is."""

from __future__ import annotations

import http.server
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from sqlalchemy import Engine, event

from meme57.addresses import sqlite_path
from meme57.cli.ui import free_port, running
from meme57.errors import TrackingError
from meme57.tracking.by_hand import plan_demotion, plan_promotion, promote
from meme57.tracking.promotion import PolicyScore
from meme57.tracking.pyfunc import load_policy_model
from meme57.tracking.registry import CHALLENGER, CHAMPION, Registration, by_alias, register_policy
from meme57.tracking.runs import ActiveRun, open_run
from meme57.tracking.store import Store, create_store, experiment_id

MODEL = "meme57-toy"


@contextmanager
def locked(store: Store) -> Iterator[None]:
    """Another connection holds the whole database."""
    with closing(sqlite3.connect(sqlite_path(store.uri), isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield


@contextmanager
def locked_while(client: MlflowClient, store: Store, *names: str) -> Iterator[None]:
    """The database is locked whenever one of the client's methods runs, and free between."""

    def lock(method: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            with locked(store):
                return method(*arguments, **named)

        return call

    for name in names:
        setattr(client, name, lock(getattr(client, name)))
    try:
        yield
    finally:
        for name in names:
            delattr(client, name)


@pytest.fixture
def _impatient() -> Iterator[None]:
    """MLflow waits 20 s for a locked database, and has no setting for it: 0.1 s here."""

    def shorten(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
        return statement.replace("busy_timeout = 20000", "busy_timeout = 100"), parameters

    event.listen(Engine, "before_cursor_execute", shorten, retval=True)
    yield
    event.remove(Engine, "before_cursor_execute", shorten)


@contextmanager
def server_that_answers(status: int) -> Iterator[str]:
    """A server that is there, and answers every question with `status` and a page."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health" else status)
            self.end_headers()
            self.wfile.write(b"<html>sorry</html>")

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def register(active: ActiveRun, folder: Path, content: str, mean: float, name: str = MODEL) -> Registration:
    model = folder / content
    model.mkdir(exist_ok=True)
    (model / "MLmodel").write_text("flavors: {}\n")
    (model / "data").write_text(content)
    score = PolicyScore(
        mean=mean, std=1.0, low=mean - 0.5, high=mean + 0.5, episodes=30, protocol="p", random_mean=0.0,
        random_std=1.0, random_episodes=30,
    )  # fmt: skip
    return register_policy(active.client, name=name, folder=model, run_id=active.run_id, score=score)


@pytest.mark.usefixtures("_impatient")
def test_a_locked_store_costs_the_champion_nothing(store: Store, active: ActiveRun, tmp_path: Path) -> None:
    """A policy of mean 5.5 once replaced one of mean 100: the locked store read as "there is no champion"."""
    best = register(active, tmp_path, "best", 100.0)
    assert best.champion
    with (
        locked_while(active.client, store, "get_registered_model", "get_model_version_by_alias"),
        pytest.raises(TrackingError, match=r"could not be found out .*database is locked") as info,
    ):
        register(active, tmp_path, "worse", 5.5)
    assert "\n" not in str(info.value)
    champion = by_alias(active.client, MODEL, CHAMPION)
    assert champion is not None
    assert str(champion.version) == best.version
    again = register(active, tmp_path, "worse", 5.5)
    assert (again.champion, again.champion_version) == (False, best.version)


@pytest.mark.usefixtures("_impatient")
def test_who_asks_a_locked_registry_hears_that_it_does_not_answer(
    store: Store, active: ActiveRun, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    register(active, tmp_path, "one", 1.0, name="meme57-asked")
    client = active.client
    with locked(store):
        for ask in (
            lambda: by_alias(client, "meme57-asked", CHAMPION),
            lambda: plan_promotion(client, "meme57-asked", None, None),
            lambda: plan_demotion(client, "meme57-asked"),
            lambda: load_policy_model(store, "meme57-asked"),
        ):
            with pytest.raises(TrackingError, match="database is locked"):
                ask()
    assert "Traceback" not in caplog.text


@pytest.mark.usefixtures("_impatient")
def test_a_locked_store_gives_a_run_no_second_parent(store: Store, active: ActiveRun) -> None:
    def again(fingerprint: str) -> ActiveRun:
        return open_run(
            active.client, active.experiment_id, run_name="Pong-s1", pipeline="evaluate",
            parent_run_id=active.parent_run_id, tags={"meme57.fingerprint": fingerprint}, parameters={},
        )  # fmt: skip

    with locked_while(active.client, store, "get_run"), pytest.raises(TrackingError, match="database is locked"):
        again("other")
    assert again("other").parent_run_id == active.parent_run_id


@pytest.mark.usefixtures("_impatient")
def test_an_experiment_that_a_locked_store_cannot_make_is_not_a_matter_of_its_name(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = store.client()
    monkeypatch.setattr(Store, "client", lambda self: client)
    with locked_while(client, store, "create_experiment"), pytest.raises(TrackingError, match="database is locked"):
        experiment_id(store, "not yet")
    assert experiment_id(store, "not yet") == experiment_id(store, "not yet")


@pytest.mark.parametrize("status", [404, 500, 503])
def test_a_server_that_only_says_sorry_does_not_say_that_there_is_no_champion(status: int) -> None:
    with server_that_answers(status) as address:
        client = MlflowClient(tracking_uri=address)
        with pytest.raises(TrackingError, match=f"{MODEL}@champion could not be found out"):
            by_alias(client, MODEL, CHAMPION)
        with pytest.raises(TrackingError, match="could not be found out"):
            load_policy_model(Store(address, None), MODEL)


def test_not_found_is_found_out_in_this_store(store: Store, active: ActiveRun, tmp_path: Path) -> None:
    assert by_alias(active.client, "meme57-never", CHAMPION) is None
    register(active, tmp_path, "hopeless", -1.0, name="meme57-hopeless")
    assert by_alias(active.client, "meme57-hopeless", CHAMPION) is None
    challenger = by_alias(active.client, "meme57-hopeless", CHALLENGER)
    assert challenger is not None
    assert challenger.tags["meme57.score"].startswith("-1.0 [")


@pytest.mark.slow
def test_not_found_is_found_out_over_a_real_server(tmp_path: Path) -> None:
    store = create_store(tmp_path)
    local = open_run(
        store.client(), experiment_id(store, "toy"), run_name="Toy-s1", pipeline="register", parent_run_id=None,
        tags={}, parameters={},
    )  # fmt: skip
    register(local, tmp_path, "hopeless", -1.0)
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1"]
    command += ["--backend-store-uri", store.uri, "--port", str(free_port())]
    with running({"MLflow": command}, tmp_path) as links:
        client = create_store(tmp_path, links["MLflow"]).client()
        assert by_alias(client, "meme57-never", CHAMPION) is None
        assert by_alias(client, MODEL, CHAMPION) is None
        challenger = by_alias(client, MODEL, CHALLENGER)
        assert challenger is not None
        assert challenger.tags["meme57.score"].startswith("-1.0 [")
        unknown = open_run(
            client, experiment_id(Store(links["MLflow"], None), "toy"), run_name="Toy-s2", pipeline="register",
            parent_run_id="0" * 32, tags={}, parameters={},
        )  # fmt: skip
        assert unknown.parent_run_id != "0" * 32


def test_an_alias_that_leads_to_no_version_is_damage(
    store: Store, active: ActiveRun, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A policy of mean 5.5 once became the champion in place of one whose version could not be found."""
    name = "meme57-dangling"
    register(active, tmp_path, "best", 100.0, name=name)
    register(active, tmp_path, "worse", 5.5, name=name)
    with closing(sqlite3.connect(sqlite_path(store.uri))) as connection:
        connection.execute("UPDATE registered_model_aliases SET version = 9 WHERE name = ?", (name,))
        connection.commit()
    for ask in (
        lambda: by_alias(active.client, name, CHAMPION),
        lambda: register(active, tmp_path, "third", 7.0, name=name),
        lambda: plan_demotion(active.client, name),
        lambda: load_policy_model(store, name),
    ):
        with pytest.raises(TrackingError, match=rf"{name}@champion leads to version 9, which is not there") as info:
            ask()
        assert f"`meme57 promote {name} --version N --reason WHY`" in str(info.value)
        assert "\n" not in str(info.value)
    assert len(active.client.search_model_versions(f"name = '{name}'")) == 2

    change = plan_promotion(active.client, name, "1", None)
    assert (change.before, change.after) == ("9", "1")
    promote(active.client, change, "the registry was damaged")
    third = register(active, tmp_path, "third", 7.0, name=name)  # the challenger's alias is mended by the way
    assert (third.version, third.champion, third.champion_version) == ("3", False, "1")
    assert "the new version is the challenger" in caplog.text
    assert str(by_alias(active.client, name, CHALLENGER).version) == "3"
