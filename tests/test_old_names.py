"""What was written under an earlier name is read: `favourite` is `bandit_policy` now."""

from __future__ import annotations

import csv
import json
import runpy
from pathlib import Path
from typing import Any

import pytest

import meme57
from meme57.config import Parameters, parse_parameters
from meme57.config.identity import changes, is_same
from meme57.config.labels import digest
from meme57.config.members import member_settings, suite_fingerprint
from meme57.datasets import JsonDataset, TableDataset
from meme57.evaluation.statistics import summarise_returns
from meme57.files import write_json
from meme57.pipelines.suite.member import read_note
from meme57.tracking.overview import overview
from meme57.tracking.run_record import new_record, record_path

ROOT = Path(__file__).parents[1]
OLD_AGENTS = ("random", "teacher", "favourite", "student")
NEW_AGENTS = ["random", "teacher", "bandit_policy", "student"]


@pytest.fixture
def old_scores() -> dict[str, Any]:
    summary = summarise_returns([1.0, 3.0], "Pong", confidence=0.9, repetitions=20, seed=0)
    protocol = {"name": "sticky0", "favourite_policy": 3}
    return {
        "run": "Pong-s1", "game": "Pong", "frames": 1_000, "confidence": 0.9, "protocol": protocol,
        "agents": dict.fromkeys(OLD_AGENTS, summary), "reference": None,
    }  # fmt: skip


def old_settings() -> dict[str, Any]:
    """Return what commit a85d471 stored about a member that does not play the bandit's policy."""
    settings = member_settings(parse_parameters({"evaluate": {"bandit_policy": False}}))
    settings["evaluate"]["favourite"] = settings["evaluate"].pop("bandit_policy")
    return settings


def test_a_parameter_may_be_given_by_its_old_name() -> None:
    assert parse_parameters({"evaluate": {"favourite": False}}).evaluate.bandit_policy is False
    assert parse_parameters({"evaluate": {"favourite": True}}) == parse_parameters({}) == Parameters()


def test_of_both_names_the_new_one_counts() -> None:
    assert parse_parameters({"evaluate": {"favourite": True, "bandit_policy": False}}).evaluate.bandit_policy is False


def test_settings_that_were_stored_under_the_old_name_are_todays() -> None:
    today = {shown: parse_parameters({"evaluate": {"bandit_policy": shown}}) for shown in (True, False)}
    assert changes(old_settings(), member_settings(today[False])) == ""
    assert changes(old_settings(), member_settings(today[True])) == "evaluate.bandit_policy False, now True"
    assert is_same(old_settings(), None, member_settings(today[False]), "")


def test_labels_are_those_of_the_old_name() -> None:
    # made by commit a85d471, where a student had 1,000 updates
    then = {"distill": {"updates": 1000}}
    assert digest(member_settings(parse_parameters(then))) == "172b78f14de7"
    parameters = parse_parameters({**then, "evaluate": {"bandit_policy": False}})
    old = old_settings()
    old["distill"]["updates"] = 1000
    assert digest(member_settings(parameters)) == digest(old) == "4b105604a142"
    assert suite_fingerprint(parameters) == "e93dbdbe2c82"


def test_scores_of_an_earlier_version_are_read(tmp_path: Path, old_scores: dict[str, Any]) -> None:
    (tmp_path / "scores.json").write_text(json.dumps(old_scores))
    read = JsonDataset(filepath=str(tmp_path / "scores.json"), schema="meme57.datasets.schemas.Scores").load()
    assert list(read["agents"]) == NEW_AGENTS
    assert read["agents"]["bandit_policy"] == old_scores["agents"]["favourite"]
    assert read["protocol"] == {"name": "sticky0", "bandit_policy": 3}


def test_only_agents_have_other_names(tmp_path: Path) -> None:
    """A variant of a suite, or a run, may be called `favourite`."""
    record = {"aggregates": {"favourite": {"teacher": 1, "favourite": 2}}, "run": "favourite"}
    record["comparisons"] = [{"variant": "favourite", "agent": "favourite"}]  # type: ignore[assignment]
    (tmp_path / "suite.json").write_text(json.dumps(record))
    assert JsonDataset(filepath=str(tmp_path / "suite.json")).load() == {
        "aggregates": {"favourite": {"teacher": 1, "bandit_policy": 2}},
        "run": "favourite",
        "comparisons": [{"variant": "favourite", "agent": "bandit_policy"}],
    }


def test_a_table_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    rows = "".join(f"Pong-favourite,{agent},1.5\n" for agent in OLD_AGENTS)
    (tmp_path / "episodes.csv").write_text(f"run,agent,return\n{rows}")
    table = TableDataset(filepath=str(tmp_path / "episodes.csv"), columns={"agent": "str", "return": "float64"}).load()
    assert table["agent"].tolist() == NEW_AGENTS
    assert set(table["run"]) == {"Pong-favourite"}


def test_the_note_of_a_suites_member_is_read(tmp_path: Path, old_scores: dict[str, Any]) -> None:
    note = {"state": "done", "scores": old_scores, "curve": [], "settings": old_settings()}
    (tmp_path / "Pong-s1.json").write_text(json.dumps(note))
    assert list(read_note(tmp_path / "Pong-s1.json")["scores"]["agents"]) == NEW_AGENTS


def test_overview_and_api_show_scores_of_an_earlier_version(
    tmp_path: Path, old_scores: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    at = {"parent_run_id": "", "created": "2026-01-01", "commit": "a85d471"}
    write_json(record_path(tmp_path, "Pong-s1"), new_record(parse_parameters({"env": {"game": "Pong"}}), at))  # type: ignore[arg-type]
    folder = tmp_path / "data" / "08_reporting" / "Pong-s1"
    folder.mkdir(parents=True)
    (folder / "scores.json").write_text(json.dumps(old_scores))
    assert overview(tmp_path, "Pong-s1").scores["bandit_policy"].mean == 2.0
    (tmp_path / "pyproject.toml").write_text('[tool.kedro]\npackage_name = "meme57"\n')
    monkeypatch.chdir(tmp_path)
    assert list(meme57.scores("Pong-s1").index) == NEW_AGENTS


def test_rows_of_an_earlier_experiment_are_shown(tmp_path: Path) -> None:
    with (ROOT / "experiments" / "games" / "data" / "games.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["agent"] for row in rows} == {"random", "teacher", "bandit_policy", "student"}
    path = tmp_path / "old.csv"
    path.write_text((ROOT / "experiments/games/data/games.csv").read_text().replace(",bandit_policy,", ",favourite,"))
    results = runpy.run_path(str(ROOT / "docs" / "generate" / "results.py"), run_name="results")
    assert results["greedy_table"](results["read"](path)) == results["greedy_table"](rows)
