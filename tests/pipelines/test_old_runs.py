"""What commit fd8d2c1 left behind, half done, is gone on with by a later version that has one more parameter."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

OLD = Path(__file__).parents[1] / "data" / "fd8d2c1"
ROOT = Path(__file__).parents[2]
LATER = {
    "config/groups.py": (
        "    kappa: Limit",
        "    new_coefficient: NonNegative = 0.0\n    kappa: Limit",
    ),
    "config/labels.py": (
        "MEANT_BEFORE: dict[str, Any] = {",
        'MEANT_BEFORE: dict[str, Any] = {"loss.new_coefficient": 0.0, ',
    ),
}
"""File -> text and what replaces it: a coefficient of the loss that did nothing before."""


@pytest.fixture(scope="module")
def later_version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("later")
    shutil.copytree(ROOT / "src" / "meme57", source / "meme57", ignore=shutil.ignore_patterns("__pycache__"))
    for name, (before, after) in LATER.items():
        path = source / "meme57" / name
        text = path.read_text()
        assert text.count(before) == 1, name
        path.write_text(text.replace(before, after))
    return source


@pytest.fixture
def go_on(make_project: Any, later_version: Path) -> Any:
    """Lays what was left into an empty project, and types the command again."""

    def start(kind: str, *arguments: str) -> tuple[Any, subprocess.CompletedProcess[str]]:
        project = make_project(f"old-{kind}")
        (project.folder / "conf" / "stopped").mkdir()
        shutil.copy(OLD / "parameters.yml", project.folder / "conf" / "stopped")
        with zipfile.ZipFile(OLD / f"{kind}.zip") as files:
            files.extractall(project.folder)
        command = [*project.command(*arguments)]
        command[command.index("test")] = "stopped"
        environment = {**project.environment(), "PYTHONPATH": str(later_version)}
        done = subprocess.run(
            command, cwd=project.folder, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        return project, done

    return start


def test_a_run_goes_on_from_its_checkpoint(go_on: Any) -> None:
    # Another patience than before: an operational setting is no part of the run.
    project, done = go_on(
        "run", "--pipelines", "setup,collect,learn", "--params", "run.name=stopped,learner.max_bad_updates=9"
    )
    assert "resumed from checkpoint-000001 at 4,000 frames" in done.stderr
    assert "collect  " not in done.stdout + done.stderr  # the seed replay is kept
    record = json.loads((project.data / "02_intermediate/stopped/run_record.json").read_text())
    assert record["configuration"]["loss"]["new_coefficient"] == 0.0
    index = json.loads((project.data / "06_models/stopped/checkpoints/index.json").read_text())
    newest = next(entry for entry in index["checkpoints"] if entry["name"] == index["newest"])
    assert newest["frames"] >= 12_000
    curve = (project.data / "08_reporting/stopped/learning_curve.csv").read_text().splitlines()
    frames = [float(line.split(",")[0]) for line in curve[1:]]
    assert frames == sorted(set(frames))
    assert frames[0] == 2_080, "the rows from before are still there"


def test_a_suite_goes_on_with_its_second_member(go_on: Any) -> None:
    project, done = go_on("suite", "--pipelines", "suite")
    assert "suite Pong: 2 members, 1 done before" in done.stderr
    assert "resumed from checkpoint-000001 at 4,000 frames" in done.stderr
    record = json.loads((project.data / "08_reporting/suite-Pong/suite.json").read_text())
    assert [member["state"] for member in record["members"]] == ["done", "done"]


def test_a_study_goes_on_with_its_second_trial(go_on: Any) -> None:
    project, done = go_on("study", "--pipelines", "tune", "--params", "tune.evidence_seeds=[]")
    assert "resumed from checkpoint-000001 at 2,864 frames" in done.stderr
    assert re.search(r"trial 1: (COMPLETE|PRUNED)", done.stderr)
    record = json.loads((project.data / "08_reporting/tune-stopped/study.json").read_text())
    assert [trial["trial"] for trial in record["trials"]] == [0, 1]
    assert record["score"] == "human-normalised"  # games were cut, but its first trial was scored so
