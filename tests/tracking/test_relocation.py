"""A copied or moved checkout: refused while its store leads elsewhere, and made to lead here, all or nothing."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from meme57.addresses import local_path, sqlite_path
from meme57.errors import TrackingError
from meme57.tracking.relocation import plan_relocation, relocate
from meme57.tracking.runs import ActiveRun, log_file, open_run
from meme57.tracking.store import Store, create_store, experiment_id


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database, made once."""
    path = sqlite_path(create_store(tmp_path_factory.mktemp("empty")).uri)
    assert path is not None
    return path


@pytest.fixture
def project(empty: Path, tmp_path: Path) -> Path:
    """With one run, one logged model and one version, in `tmp_path/old%20 place`."""
    folder = tmp_path / "old%20 place"
    (folder / "mlruns").mkdir(parents=True)
    shutil.copy(empty, folder / "mlruns" / "mlflow.db")
    active = work(folder)
    client, content = active.client, folder / "policy"
    content.mkdir()
    (content / "MLmodel").write_text("flavors: {}\n")
    model = client.create_logged_model(active.experiment_id, "policy", active.run_id)
    client.log_model_artifacts(model.model_id, str(content))
    client.finalize_logged_model(model.model_id, "READY")
    client.create_registered_model("meme57-toy")
    client.create_model_version("meme57-toy", model.artifact_location, active.run_id, model_id=model.model_id)
    return folder


def work(folder: Path) -> ActiveRun:
    """A run with one file, in the experiment `toy`."""
    store = create_store(folder)
    active = open_run(
        store.client(), experiment_id(store, "toy"), run_name="Toy-s1", pipeline="learn", parent_run_id=None, tags={},
        parameters={},
    )  # fmt: skip
    (folder / "note.txt").write_text("hello")
    log_file(active, folder / "note.txt")
    return active


def places(client: MlflowClient) -> list[str]:
    """Every address of files that a client can ask for."""
    experiments = client.search_experiments()
    numbers = [experiment.experiment_id for experiment in experiments]
    versions = client.search_model_versions()
    return [
        *(experiment.artifact_location for experiment in experiments if experiment.name == "toy"),
        *(run.info.artifact_uri for run in client.search_runs(numbers)),
        *(model.artifact_location for model in client.search_logged_models(numbers)),
        *(version.source for version in versions),
        *(client.get_model_version_download_uri(version.name, version.version) for version in versions),
    ]


def content(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as connection:
        return list(connection.iterdump())


@pytest.mark.parametrize("is_moved", [True, False], ids=["moved", "copied"])
def test_refused_then_rewritten_then_at_work_in_the_new_place(project: Path, is_moved: bool) -> None:
    new = project.with_name("new#place?")
    shutil.copytree(project, new)
    if is_moved:
        shutil.rmtree(project)
    before = sorted(project.rglob("*"))
    with pytest.raises(TrackingError, match="`meme57 relocate`") as info:
        work(new)
    assert str(project / "mlruns" / "artifacts") in str(info.value)
    assert str(new / "mlruns" / "artifacts") in str(info.value)
    database = new / "mlruns" / "mlflow.db"
    old = content(database)
    store = create_store(new)
    plan = plan_relocation(store)
    assert (plan.old, plan.new, len(plan.changes)) == ((project / "mlruns",), new / "mlruns", 6)
    backup = relocate(store)
    assert content(backup) == old
    assert project.name not in "".join(content(database))  # nor in a column that nobody thought of
    assert "old%2520%20place" not in "".join(content(database))
    found = places(store.client())
    assert len(found) == 6
    assert all((local_path(place) or Path()).is_relative_to(new / "mlruns" / "artifacts") for place in found)
    active = work(new)
    assert list((new / "mlruns" / "artifacts" / "toy" / active.run_id).rglob("note.txt"))
    assert sorted(project.rglob("*")) == before
    assert plan_relocation(store).changes == ()


def test_a_failure_changes_nothing(project: Path) -> None:
    new = project.with_name("new")
    project.rename(new)
    store, database = create_store(new), new / "mlruns" / "mlflow.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(
            "CREATE TRIGGER no BEFORE UPDATE ON model_versions BEGIN SELECT RAISE(ABORT, 'not this one'); END"
        )
        connection.commit()
    before = content(database)
    with pytest.raises(TrackingError, match="not this one"):
        relocate(store)
    assert content(database) == before


def test_a_place_that_a_person_chose_is_not_refused(project: Path, tmp_path: Path) -> None:
    client = create_store(project).client()
    for name, location in (("disk", (tmp_path / "big disk").as_uri()), ("cloud", "s3://bucket/mlruns/artifacts")):
        number = client.create_experiment(name, artifact_location=location)
        assert experiment_id(create_store(project), name) == number
    assert plan_relocation(create_store(project)).changes == ()


def test_a_link_to_the_old_place_is_the_old_place(project: Path) -> None:
    new = project.with_name("new")
    project.rename(new)
    project.symlink_to(new)
    work(new)
    work(project)


def test_a_server_is_not_relocated() -> None:
    with pytest.raises(TrackingError, match="is not a local store"):
        plan_relocation(Store("http://127.0.0.1:9", None))
