"""dvc.yaml says what the catalog says, and DVC runs again what a changed parameter reaches, nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from kedro.framework.project import configure_project, pipelines

from meme57.config.identity import SEED_GROUPS as SEED_REPLAY_GROUPS
from meme57.config.parameters import LEARNING_GROUPS
from meme57.config.tree import look_up
from meme57.hooks.configuration import ProjectConfigLoader
from meme57.pipeline_registry import FLOW
from meme57.settings import CONFIG_LOADER_ARGS

ROOT = Path(__file__).parents[1]
PARAMETERS = "conf/laptop/parameters.yml"
READ = {
    "setup": ["run.seed", "run.total_frames", *LEARNING_GROUPS],
    "collect": ["run.seed", "loss.distil_policy", *SEED_REPLAY_GROUPS],
    "learn": ["run", *LEARNING_GROUPS],
    "distill": ["run.seed", "env", "replay", "distill", "evaluate.temperature"],
    "evaluate": ["run.seed", "env", "evaluate"],
    "report": [],
    "register": ["run.seed", "env.game", "register"],
}
"""What each pipeline reads; of these a stage names what conf/laptop sets (DVC reads no `extends`, nor a default)."""

STAND_IN = """#!{python}
import hashlib, json, pathlib, sys
assert sys.argv[1:-1] == ["-m", "kedro", "run", "--env", "laptop", "--pipelines"], sys.argv
stage, digest = sys.argv[-1], hashlib.sha256(pathlib.Path("{parameters}").read_bytes()).hexdigest()
found = []
for name in json.loads(pathlib.Path("{outs}").read_text())[stage]:
    path = pathlib.Path(name)
    if path.exists():
        found.append(name)
    file = path if path.suffix else path / "content"
    file.parent.mkdir(parents=True, exist_ok=True)
    content = "the same" if file.name == "env_spec.json" or "initial_policy" in name else digest
    file.write_text(json.dumps({{"content": content}}) if file.suffix == ".json" else "frames,episodes/return\\n1,2\\n")
    if not path.suffix:
        (path / content.replace(" ", "-")).touch()
with open("{log}", "a") as stream:
    stream.write(json.dumps([stage, found]) + "\\n")
"""
"""Stands in for `python`, hence for Kedro: writes what the catalog says, other content for other parameters."""


SHARED = {"report_folder", "episodes_folder"}
"""Folders whose files are outputs by themselves; what else lies there, DVC must not remove before a stage."""


@pytest.fixture(scope="module")
def laptop() -> dict[str, Any]:
    return yaml.safe_load((ROOT / PARAMETERS).read_text())


@pytest.fixture(scope="module")
def stages(laptop: dict[str, Any]) -> dict[str, Any]:
    text = (ROOT / "dvc.yaml").read_text()
    text = text.replace("${env.game}", laptop["env"]["game"]).replace("${run.seed}", str(laptop["run"]["seed"]))
    assert "${" not in text
    return yaml.safe_load(text)["stages"]


@pytest.fixture(scope="module")
def catalog_paths() -> dict[str, dict[str, set[str]]]:
    """Pipeline -> what it reads and writes, from the pipelines and the catalog; a file in a folder of its own is it."""
    configure_project("meme57")
    pipelines.set_requested(None)
    entries = ProjectConfigLoader(str(ROOT / "conf"), env="laptop", **CONFIG_LOADER_ARGS)["catalog"]
    paths = {name: entry["filepath"] for name, entry in entries.items() if not name.startswith("_")}
    folders = {name: path for name, path in paths.items() if name.endswith("_folder") and name not in SHARED}

    def place(name: str) -> str:
        return next((folder for folder in folders.values() if f"{paths[name]}/".startswith(f"{folder}/")), paths[name])

    made: set[str] = set()
    found = {}
    for name in FLOW:
        pipeline = pipelines[name]
        outs = {place(out) for out in pipeline.all_outputs() if out in paths}
        ins = {place(entry) for entry in pipeline.inputs() if entry in paths and entry not in SHARED}
        outs |= {folder for folder in ins if folder in folders.values() and folder not in made}
        made |= outs
        found[name] = {"outs": outs, "deps": ins - outs}
    return found


def _paths(entries: list[str | dict[str, Any]]) -> set[str]:
    return {entry if isinstance(entry, str) else next(iter(entry)) for entry in entries}


def _entries(stage: dict[str, Any]) -> list[str | dict[str, Any]]:
    return [entry for kind in ("outs", "metrics", "plots") for entry in stage.get(kind, [])]


def _outs(stage: dict[str, Any]) -> set[str]:
    return _paths(_entries(stage))


def _flagged(stages: dict[str, Any], key: str, value: bool) -> set[str]:
    marked = [entry for stage in stages.values() for entry in _entries(stage) if isinstance(entry, dict)]
    return {path for entry in marked for path, flags in entry.items() if flags.get(key) is value}


def test_one_stage_a_pipeline_in_their_order(stages) -> None:
    assert tuple(stages) == FLOW
    for name, stage in stages.items():
        assert stage["cmd"] == f"python -m kedro run --env laptop --pipelines {name}"


@pytest.mark.parametrize("name", FLOW)
def test_paths_are_those_of_the_catalog(stages, catalog_paths, name: str) -> None:
    assert _outs(stages[name]) == catalog_paths[name]["outs"]
    assert _paths(stages[name].get("deps", [])) == catalog_paths[name]["deps"]


@pytest.mark.parametrize("name", FLOW)
def test_a_stage_names_the_parameters_that_it_reads(stages, laptop, name: str) -> None:
    listed = [key for entry in stages[name].get("params", []) for keys in entry.values() for key in keys]
    assert sorted(listed) == sorted(key for key in READ[name] if key.split(".")[0] in laptop)


@pytest.mark.parametrize("file", ["dvc.yaml", "conf/suite/dvc.yaml"])
def test_every_parameter_that_a_stage_names_stands_in_its_file(file: str) -> None:
    """As DVC reads them: literally, without `extends`."""
    stages = yaml.safe_load((ROOT / file).read_text())["stages"].values()
    named = [pair for stage in stages for entry in stage.get("params", []) for pair in entry.items()]
    assert named
    for path, keys in named:
        tree = yaml.safe_load((ROOT / path).read_text())
        values = [look_up(tree, key) for key in keys] if keys else [tree]
        assert "${" not in json.dumps(values), path


def test_no_group_of_the_parameters_is_overlooked(laptop) -> None:
    read = {key.split(".")[0] for keys in READ.values() for key in keys}
    assert set(laptop) - {"extends"} <= read | {"tracking"}  # where runs are written shapes no result
    assert "name" not in laptop["run"]
    assert "exact_resume" not in laptop["run"]


def test_what_a_stage_goes_on_from_persists(stages) -> None:
    persistent = {Path(path).name for path in _flagged(stages, "persist", True)}
    assert persistent == {"run_record.json", "seed_replay", "checkpoints", "learning_curve.csv"}


def test_the_suite_is_a_pipeline_of_its_own() -> None:
    """`dvc repro` alone must not start a suite: it has a file of its own, conf/suite/dvc.yaml."""
    stage = yaml.safe_load((ROOT / "conf" / "suite" / "dvc.yaml").read_text())["stages"]["suite"]
    assert (stage["wdir"], stage["cmd"]) == ("../..", "python -m kedro run --env suite --pipelines suite")
    configure_project("meme57")
    pipelines.set_requested(None)
    suite = ProjectConfigLoader(str(ROOT / "conf"), env="suite", **CONFIG_LOADER_ARGS)
    entries = suite["catalog"]
    assert _outs(stage) == {entries[name]["filepath"] for name in pipelines["suite"].all_outputs() if name in entries}
    assert {name for entry in stage["params"] for name in entry} == {
        f"conf/{name}/parameters.yml" for name in suite.chain if (ROOT / "conf" / name / "parameters.yml").exists()
    }


def test_what_init_lays_out_is_no_second_flow() -> None:
    """DVC looks for dvc.yaml in all folders, and src/meme57/project_template has a link to this one."""
    pytest.importorskip("dvc")
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo import Repo

    try:
        stages = Repo(str(ROOT)).index.stages
    except NotDvcRepoError:
        pytest.skip("an unpacked archive is no repository")
    assert {Path(stage.path_in_repo).as_posix() for stage in stages} == {"dvc.yaml", "conf/suite/dvc.yaml"}


@pytest.fixture(scope="module")
def repository(tmp_path_factory, stages, catalog_paths) -> Path:
    """A fresh clone, as DVC sees it, in which `python` is the stand-in."""
    folder, extra = tmp_path_factory.mktemp("clone"), tmp_path_factory.mktemp("stand-in")
    for name in ("dvc.yaml", ".dvcignore", ".gitignore", PARAMETERS, ".dvc/config", ".dvc/.gitignore"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    for path in (ROOT / "data").iterdir():
        (folder / "data" / path.name).mkdir(parents=True)
        (folder / "data" / path.name / ".gitkeep").touch()
    outs = {name: sorted(paths["outs"]) for name, paths in catalog_paths.items()}
    (extra / "outs.json").write_text(json.dumps(outs))
    (extra / "python").write_text(
        STAND_IN.format(python=sys.executable, parameters=PARAMETERS, outs=extra / "outs.json", log=extra / "log.jsonl")
    )
    (extra / "python").chmod(0o755)
    (folder / ".stand-in").symlink_to(extra)
    with (folder / ".gitignore").open("a") as stream:
        stream.write("\n.stand-in\n")
    _command(folder, "git", "init", "--quiet")
    _command(folder, "git", "add", ".")
    _command(folder, "git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "Clone")
    return folder


def _command(folder: Path, *command: str) -> str:
    environment = {
        **os.environ,
        "PATH": f"{folder / '.stand-in'}{os.pathsep}{os.environ['PATH']}",
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(folder / ".dvc" / "tmp" / "site"),
    }
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _reproduce(repository: Path) -> dict[str, list[str]]:
    """The stages that `dvc repro` ran, in order, with those of their outputs that were there when they started."""
    log = repository / ".stand-in" / "log.jsonl"
    log.unlink(missing_ok=True)
    _command(repository, sys.executable, "-m", "dvc", "repro")
    return dict(json.loads(line) for line in log.read_text().splitlines()) if log.exists() else {}


def _change(repository: Path, old: str, new: str) -> None:
    path = repository / PARAMETERS
    text = path.read_text()
    assert text.count(old) == 1, old
    path.write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def first(repository) -> dict[str, list[str]]:
    return _reproduce(repository)


@pytest.fixture(scope="module")
def reproduced(repository, first) -> Path:
    """Everything is up to date; each test leaves it so."""
    return repository


def test_dvc_runs_the_stages_in_order_and_then_none(first, reproduced) -> None:
    assert tuple(first) == FLOW
    assert _reproduce(reproduced) == {}


def test_git_sees_the_scores_and_the_lock_alone(reproduced) -> None:
    listing = _command(reproduced, "git", "status", "--porcelain", "--untracked-files=all").split()[1::2]
    assert [Path(path).name for path in listing] == ["scores.json", "dvc.lock"]


def test_outputs_are_either_with_git_or_in_the_cache_of_dvc(reproduced, stages) -> None:
    every = sorted(set().union(*(_outs(stage) for stage in stages.values())))
    ignored = subprocess.run(
        ["git", "check-ignore", *every], cwd=reproduced, capture_output=True, text=True, check=False
    ).stdout.split()
    assert set(every) - set(ignored) == _flagged(stages, "cache", False)


def test_a_changed_evaluation_runs_evaluation_and_what_follows(reproduced, laptop) -> None:
    _change(reproduced, f"  episodes: {laptop['evaluate']['episodes']}\n", "  episodes: 7\n")
    assert tuple(_reproduce(reproduced)) == ("evaluate", "report", "register")


def test_a_longer_run_goes_on_from_what_is_there(reproduced, laptop) -> None:
    _change(reproduced, f"total_frames: {laptop['run']['total_frames']}", "total_frames: 77")
    ran = _reproduce(reproduced)
    assert tuple(ran) == ("setup", "learn", "distill", "evaluate", "report", "register")
    assert {Path(path).name for path in ran["learn"]} == {"checkpoints", "learning_curve.csv"}
    assert ran["distill"] == []


def test_a_changed_learner_needs_no_new_seed_replay(reproduced) -> None:
    batch_size = yaml.safe_load((reproduced / PARAMETERS).read_text())["learner"]["batch_size"]
    _change(reproduced, f"  batch_size: {batch_size}\n", "  batch_size: 77\n")
    ran = _reproduce(reproduced)
    assert tuple(ran) == ("setup", "learn", "distill", "evaluate", "report", "register")
    assert [Path(path).name for path in ran["setup"]] == ["run_record.json"]  # so that `setup` can refuse
