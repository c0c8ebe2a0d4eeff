from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import toy_registry
from kedro.framework.session import KedroSession
from mlflow.entities import Run

from meme57.addresses import sqlite_address
from meme57.config import parse_parameters
from meme57.files import read_json, write_json
from meme57.hooks.one_line import OneLineError
from meme57.lock import hold
from meme57.tracking.run_record import record_path

Go = Callable[..., None]
Runs = Callable[[], list[Run]]


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"env": {"game": "Pnog"}}, "did you mean Pong"),
        ({"env": {"gme": "Pong"}}, r"unknown parameter env\.gme: did you mean env\.game"),
        ({"lerner": {"batch_size": 3}}, "unknown parameter lerner: did you mean learner"),
        ({"learner": {"batch_size": "many"}}, r"learner\.batch_size='many' is not possible"),
        ({"run": {"name": "../x"}}, r"run\.name='\.\./x' is not possible"),
    ],
)
def test_wrong_parameters_stop_before_anything_runs(
    go: Go, runs: Runs, project: Path, parameters: dict[str, object], words: str
) -> None:
    with pytest.raises(OneLineError, match=words) as info:
        go("setup", **parameters)
    assert (info.value.exit_code, "\n" in info.value.message) == (1, False)
    assert runs() == []
    assert not (project / "data").exists()


def test_misspelt_group_in_a_file_is_found(go: Go, project: Path) -> None:
    (project / "conf" / "laptop" / "parameters_more.yml").write_text("lerner: {batch_size: 3}\n")
    with pytest.raises(OneLineError, match="unknown parameter lerner"):
        go("setup")


def test_key_in_two_files_is_one_line(go: Go, project: Path) -> None:
    (project / "conf" / "laptop" / "parameters_more.yml").write_text("env: {num_envs: 8}\n")
    with pytest.raises(OneLineError, match="Duplicate keys") as info:
        go("setup")
    assert "\n" not in info.value.message


def test_unknown_environment_names_the_known_ones(go: Go) -> None:
    with pytest.raises(OneLineError, match=r"no environment 'nope'.* base, laptop, test"):
        go("setup", environment="nope")


def test_command_line_shows_one_line_and_no_traceback(project: Path) -> None:
    (project / "src").mkdir()
    (project / "pyproject.toml").write_text(
        '[tool.kedro]\npackage_name = "meme57"\nproject_name = "meme57"\nkedro_init_version = "1.7.0"\n'
    )
    command = [sys.executable, "-m", "kedro", "run", "--params", "env.game=Pnog"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert (done.stderr + done.stdout).strip().splitlines() == [
        "Error: env.game='Pnog' is not a known game: did you mean Pong or UpNDown?"
    ]


def test_environment_changes_single_keys_of_a_group(go: Go) -> None:
    go("setup", environment="test")
    typed = parse_parameters(toy_registry.received["parameters"])
    assert (typed.env.num_envs, typed.env.height, typed.env.game) == (2, 84, "Pong")


def test_exactly_one_environment_applies(go: Go, project: Path) -> None:
    (project / "conf" / "local").mkdir()
    (project / "conf" / "local" / "parameters.yml").write_text("env: {height: 42}\n")
    go("setup")
    assert parse_parameters(toy_registry.received["parameters"]).env.height == 42
    go("setup", environment="test", run={"name": "other"})
    assert parse_parameters(toy_registry.received["parameters"]).env.height == 84


def test_nodes_get_the_canonical_tree_with_every_default(go: Go) -> None:
    go("setup", env={"game": "ALE/Pong-v5"}, loss={"kappa": float("inf")})
    received = toy_registry.received["parameters"]
    assert received["env"]["game"] == "Pong"
    assert parse_parameters(received).model_dump(mode="json", by_alias=True) == received
    assert parse_parameters(received).loss.kappa == float("inf")


@pytest.mark.parametrize("name", ["[x]", "a*b", "a?b", "a%20b#c"])
def test_a_project_folder_is_no_pattern(project: Path, name: str) -> None:
    """Kedro joins the folder and its own patterns: `a?b` and `a*b` found the files of a neighbour, `[x]` none."""
    for folder in (name, "a+b"):
        shutil.copytree(project / "conf", project / folder / "conf")
    (project / "a+b" / "conf" / "laptop" / "parameters.yml").write_text("no_such: 1\n")
    with KedroSession.create(project_path=project / name, env="test") as session:
        context = session.load_context()
    assert (context.params["env"]["num_envs"], context.params["env"]["height"]) == (2, 84)
    assert "run_record" in context.catalog


def test_a_studys_relative_database_lies_in_the_project(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    parameters = {"tune": {"storage": "sqlite:///data/a%20b.db"}}
    with KedroSession.create(project_path=project, runtime_params=parameters) as session:
        context = session.load_context()
    assert context.params["tune"]["storage"] == sqlite_address(project / "data" / "a b.db")
    with (
        pytest.raises(OneLineError, match="names no file"),
        KedroSession.create(project_path=project, runtime_params={"tune": {"storage": "sqlite://x.db"}}) as session,
    ):
        session.load_context()


def test_catalog_paths_hold_the_name_of_run_study_or_suite(project: Path) -> None:
    parameters = {"run": {"name": "mine"}, "tune": {"study": "rates"}, "suite": {"name": "three"}}
    with KedroSession.create(project_path=project, runtime_params=parameters) as session:
        catalog = session.load_context().catalog
        names = [name for name in catalog if not name.startswith("param")]
        paths = {name: catalog[name].path for name in names}
    assert len(paths) > 15
    for name, path in paths.items():
        if name.startswith("tuned_"):
            assert path.relative_to(project).parts[:2] == ("conf", "tuned-rates")
            continue
        layer, owner = path.relative_to(project / "data").parts[:2]
        of_study = name.startswith("study_") or name == "trials_folder"
        expected = "tune-rates" if of_study else "suite-three" if name.startswith("suite_") else "mine"
        assert (layer[:2].isdigit(), owner) == (True, expected)
    assert paths["run_record"] == record_path(project, "mine")
    assert paths["checkpoints"] == paths["checkpoint_folder"]


def test_same_run_goes_on_and_keeps_its_parent(go: Go, project: Path) -> None:
    go()
    first = read_json(record_path(project, "Pong-s1"))
    go(run={"total_frames": 2000})
    assert read_json(record_path(project, "Pong-s1")) == {**first, "total_frames": 2000}


def test_other_configuration_is_refused_and_nothing_overwritten(go: Go, runs: Runs, project: Path) -> None:
    go("setup")
    before, opened = record_path(project, "Pong-s1").read_bytes(), len(runs())
    with pytest.raises(OneLineError, match=r"run\.name=Pong-s1-b.*run\.fresh=true"):
        go(learner={"batch_size": 3})
    assert record_path(project, "Pong-s1").read_bytes() == before
    assert len(runs()) == opened
    go("setup", learner={"batch_size": 3}, run={"name": "Pong-s1-b"})


def test_fresh_removes_the_run_and_starts_anew(go: Go, project: Path) -> None:
    go()
    go(run={"name": "neighbour"})
    old = read_json(record_path(project, "Pong-s1"))
    stray = project / "data" / "06_models" / "Pong-s1" / "stray.json"
    write_json(stray, {})
    go(learner={"batch_size": 3}, run={"fresh": True})
    new = read_json(record_path(project, "Pong-s1"))
    assert not stray.exists()
    assert new["fingerprint"] != old["fingerprint"]
    assert new["mlflow_run_id"] != old["mlflow_run_id"]
    assert record_path(project, "neighbour").exists()


def test_fresh_removes_nothing_that_the_same_command_then_lacks(go: Go, project: Path) -> None:
    go("setup")
    before = sorted((project / "data").rglob("*"))
    with pytest.raises(OneLineError, match=r"run\.fresh=true removes checkpoints of run .*: add learn to --pipelines"):
        go("setup", "evaluate", run={"fresh": True})
    assert sorted((project / "data").rglob("*")) == before


def test_fresh_needs_setup(go: Go, project: Path) -> None:
    go("setup")
    with pytest.raises(OneLineError, match=r"run\.fresh=true removes the run, so it needs `setup`"):
        go("learn", run={"fresh": True})
    assert record_path(project, "Pong-s1").exists()


def test_pipeline_without_setup_says_what_to_run(go: Go) -> None:
    with pytest.raises(OneLineError, match="kedro run --pipelines setup"):
        go("learn")


def test_missing_input_names_the_pipeline_that_makes_it(go: Go, runs: Runs) -> None:
    go("setup")
    opened = len(runs())
    with pytest.raises(OneLineError, match="checkpoints of run 'Pong-s1' is missing: `kedro run --pipelines learn`"):
        go("evaluate")
    assert len(runs()) == opened


def test_tuning_needs_no_setup(go: Go, runs: Runs) -> None:
    go("tune")
    assert [run.info.run_name for run in runs()] == ["Pong-s1", "Pong-s1 / tune"]


def test_a_run_that_another_process_trains_is_refused_before_a_run_is_opened(go: Go, runs: Runs, project: Path) -> None:
    go("setup")
    opened = len(runs())
    with hold(project / "data" / "06_models" / "Pong-s1" / "checkpoints"):
        for parameters in ({}, {"run": {"fresh": True}}):
            with pytest.raises(OneLineError, match="is in use by process"):
                go(**parameters)
        assert len(runs()) == opened
        go("setup")  # writes nothing that grows
    assert record_path(project, "Pong-s1").exists()
