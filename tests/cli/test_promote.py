"""`meme57 promote`, `demote` and `models` on a real registry: people overrule the rule, and their reasons stay."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from mlflow import MlflowClient

from meme57.tracking.models import RegisteredVersion
from meme57.tracking.promotion import PolicyScore
from meme57.tracking.registry import CHAMPION, by_alias, register_policy
from meme57.tracking.runs import ActiveRun, open_run
from meme57.tracking.store import create_store, experiment_id
from meme57.tracking.version_tags import VersionScore

MODEL = "meme57-toy"


def register(active: ActiveRun, folder: Path, content: str, *, low: float, mean: float, run: str = "Toy-s1") -> None:
    folder = folder / content
    folder.mkdir(exist_ok=True)
    (folder / "MLmodel").write_text("flavors: {}\n")
    (folder / "data").write_text(content)
    score = PolicyScore(
        mean=mean, std=mean - low, low=low, high=mean + 1, episodes=10, protocol="p", random_mean=0.0, random_std=0.5,
        random_episodes=10,
    )  # fmt: skip
    tags = {"meme57.run": run}
    register_policy(active.client, name=MODEL, folder=folder, run_id=active.run_id, score=score, tags=tags)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 1 is the champion with 10 points; version 2 of another run has 5, and is the challenger."""
    folder = tmp_path_factory.mktemp("registry")
    store = create_store(folder)
    active = open_run(
        store.client(), experiment_id(store, "toy"), run_name="Toy-s1", pipeline="register", parent_run_id=None,
        tags={}, parameters={},
    )  # fmt: skip
    register(active, folder, "one", low=9.0, mean=10.0)
    register(active, folder, "two", low=4.0, mean=5.0, run="Toy-s2")
    return folder


@pytest.fixture
def active(registry: Path, empty: Path) -> ActiveRun:
    """A copy of the registry, in the working directory."""
    shutil.copytree(registry / "mlruns", empty / "mlruns")
    client = create_store(empty).client()
    run = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])[0]
    return ActiveRun(client, run.info.experiment_id, run.info.run_id, "")


@pytest.fixture
def client(active: ActiveRun) -> MlflowClient:
    return active.client


def champion(client: MlflowClient) -> str | None:
    found = by_alias(client, MODEL, CHAMPION)
    return None if found is None else str(found.version)


def test_promote_asks_shows_what_changes_and_keeps_the_reason(client: MlflowClient, meme57) -> None:
    assert champion(client) == "1"
    refused = meme57("promote", MODEL, "--reason", "plays nicer", input="n\n")
    assert refused.exit_code == 1
    assert f"{MODEL}@champion: version 1 -> version 2 (5.0 [4.0, 6.0], n 10)?" in refused.output
    assert champion(client) == "1"
    done = meme57("promote", MODEL, "--reason", "plays nicer", "--yes", "--json")
    assert json.loads(done.output) == {"model": MODEL, "before": "1", "after": "2", "score": "5.0 [4.0, 6.0], n 10"}
    assert champion(client) == "2"
    tags = client.get_model_version(MODEL, "2").tags
    assert tags["meme57.promotion"] == "by hand, in place of version 1: plays nicer"


def test_promote_by_version_and_by_run(client: MlflowClient, meme57) -> None:
    meme57("promote", MODEL, "--run", "Toy-s2", "--reason", "x", "--yes")
    assert champion(client) == "2"
    meme57("promote", MODEL, "--version", "1", "--reason", "x", "--yes")
    assert champion(client) == "1"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((MODEL, "--version", "7"), "has no version 7: there are 1, 2"),
        ((MODEL, "--run", "Toy-s9"), "has no version of run 'Toy-s9': there are 1, 2"),
        (("meme57-tyo",), "there is no model 'meme57-tyo': there are meme57-toy"),
    ],
)
def test_what_is_not_there_is_named(client: MlflowClient, meme57, arguments: tuple[str, ...], words: str) -> None:
    result = meme57("promote", *arguments, "--reason", "x", "--yes")
    assert result.exit_code == 1
    assert words in result.output
    assert champion(client) == "1"


def test_demote_takes_the_title_and_register_does_not_give_it_back(
    client: MlflowClient, active: ActiveRun, tmp_path: Path, meme57
) -> None:
    meme57("promote", MODEL, "--reason", "x", "--yes")
    done = meme57("demote", MODEL, "--reason", "cheats", "--yes")
    assert done.output == f"{MODEL}@champion: version 2 (5.0 [4.0, 6.0], n 10) -> none\n"
    assert champion(client) is None
    assert client.get_model_version(MODEL, "2").tags["meme57.demoted"] == "cheats"
    register(active, tmp_path, "two", low=4.0, mean=5.0, run="Toy-s2")  # the same policy again
    assert champion(client) is None
    assert "demoted by hand (cheats)" in client.get_model_version(MODEL, "2").tags["meme57.promotion"]
    register(active, tmp_path, "three", low=1.0, mean=2.0)  # a new one clears random play
    assert champion(client) == "3"
    meme57("promote", MODEL, "--version", "2", "--reason", "does not", "--yes")
    assert champion(client) == "2"
    assert "meme57.demoted" not in client.get_model_version(MODEL, "2").tags


def test_without_a_champion_there_is_nothing_to_demote(client: MlflowClient, meme57) -> None:
    meme57("demote", MODEL, "--reason", "x", "--yes")
    again = meme57("demote", MODEL, "--reason", "x", "--yes")
    assert again.exit_code == 1
    assert "has no champion" in again.output


def test_models_shows_aliases_scores_runs_and_age(client: MlflowClient, meme57) -> None:
    newest, oldest = json.loads(meme57("models", "--json").output)
    assert (newest["version"], newest["aliases"], newest["run"]) == ("2", ["challenger"], "Toy-s2")
    assert (oldest["version"], oldest["aliases"], oldest["run"]) == ("1", ["champion"], "Toy-s1")
    assert oldest["score"] == {"mean": 10.0, "low": 9.0, "high": 11.0, "episodes": 10}
    assert oldest["protocol"] == "p"
    table = meme57("models").output
    assert "10.0 [9.0, 11.0], n 10" in table
    assert "0 min" in table
    assert f"Play one:  meme57 play models:/{MODEL}/2" in table


def test_models_of_a_name_shows_every_version_and_its_decision(client: MlflowClient, meme57) -> None:
    client.delete_registered_model_alias(MODEL, CHAMPION)
    assert [row["version"] for row in json.loads(meme57("models", "--json").output)] == ["2"]
    assert [row["version"] for row in json.loads(meme57("models", MODEL, "--json").output)] == ["2", "1"]
    assert "version 1: first champion: better than random play" in meme57("models", MODEL).output
    wrong = meme57("models", "meme57-pnog")
    assert (wrong.exit_code, wrong.output) == (1, f"Error: there is no model 'meme57-pnog': there are {MODEL}\n")


def test_age() -> None:
    made = RegisteredVersion("m", "1", (), VersionScore(), None, None, None, "2026-01-01T00:00:00+00:00", None)
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    ages = [made.age(begin + timedelta(minutes=minutes)) for minutes in (0, 59, 60, 1439, 1440, 5000)]
    assert ages == ["0 min", "59 min", "1 h", "23 h", "1 d", "3 d"]
