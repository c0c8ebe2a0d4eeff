"""A database that cannot be used: a run goes on and says what to type; once it is mended MLflow has the whole curve."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from meme57.addresses import sqlite_address
from meme57.files import read_json
from meme57.hooks.one_line import OneLineError
from meme57.stopping import stop_requested
from meme57.tracking.run_record import record_path
from meme57.tracking.runs import active_run
from meme57.tracking.store import first_line

Go = Callable[..., None]
Runs = Callable[[], list[Run]]


def execute(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()


def hollow(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:24] + b"\xff" * (len(content) - 24))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "garbage": lambda path: path.write_bytes(random.Random(1).randbytes(5_000)),
    "text": lambda path: path.write_text("not a database"),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "hollow": hollow,
    "another schema": lambda path: execute(path, "ALTER TABLE runs RENAME COLUMN status TO state"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_database_does_not_stop_a_run(
    go: Go, runs: Runs, project: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    database = project / "mlruns" / "mlflow.db"
    whole = database.read_bytes()
    DAMAGE[damage](database)
    go()
    [told] = [record.getMessage() for record in caplog.records if "MLflow does not follow this run" in record.message]
    assert "`mv mlruns/mlflow.db mlruns/damaged.db`" in told
    assert "\n" not in told
    assert (active_run(), stop_requested()) == (None, False)
    assert (project / "data/08_reporting/Pong-s1/scores.json").exists()
    assert read_json(record_path(project, "Pong-s1"))["mlflow_run_id"] == ""

    database.write_bytes(whole)  # into the file that this process has open
    go("learn")
    go("evaluate")
    parent, *children = runs()
    assert {child.data.tags["mlflow.parentRunId"] for child in children} == {parent.info.run_id}
    assert parent.data.metrics["loss"] == 0.5


def test_a_database_of_another_version_is_refused_with_the_command(go: Go, project: Path) -> None:
    """Nothing is lost and one command helps: better said before than after."""
    execute(project / "mlruns" / "mlflow.db", "UPDATE alembic_version SET version_num = '451aebb31d03'")
    with pytest.raises(OneLineError, match=r"run 'mlflow db upgrade <database_uri>'.*sqlite:///mlruns/mlflow\.db"):
        go()
    assert not record_path(project, "Pong-s1").exists()


def test_an_empty_database_is_filled(go: Go, runs: Runs, project: Path) -> None:
    (project / "mlruns" / "mlflow.db").write_bytes(b"")
    go()
    assert [run.info.status for run in runs()] == ["FINISHED", "FINISHED"]


def test_a_read_only_database_is_told_apart(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # MLflow makes a folder named like the address
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    MlflowClient(tracking_uri=sqlite_address(tmp_path / "mlflow.db"))  # which writes its experiment Default
    client = MlflowClient(tracking_uri=f"sqlite:///file:{tmp_path}/mlflow.db?mode=ro&uri=true")
    with pytest.raises(Exception, match="readonly database") as caught:
        client.create_experiment("x")
    assert first_line(caught.value).endswith("`chmod -R u+w mlruns`")
