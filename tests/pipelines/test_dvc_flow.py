"""`dvc repro` over the real flow: every stage a real `kedro run` on real Pong, at the size of conf/test.

`tests/test_dvc.py` holds dvc.yaml against the catalog with a stand-in for Kedro; here nothing stands in.
"""

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

from meme57.pipeline_registry import FLOW

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
FILES = ("dvc.yaml", ".dvcignore", ".gitignore", ".telemetry", "pyproject.toml", ".dvc/config")
PARAMETERS = "conf/laptop/parameters.yml"
PATIENCE_SECONDS = 2_400


class Clone:
    """A fresh clone with its own data, whose conf/laptop has the size of conf/test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in FILES:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        shutil.copytree(ROOT / "conf", folder / "conf", ignore=shutil.ignore_patterns("local"))
        for path in (ROOT / "data").iterdir():
            (folder / "data" / path.name).mkdir(parents=True)
            (folder / "data" / path.name / ".gitkeep").touch()
        for name in ("src", "mlruns"):
            (folder / name).mkdir()
            (folder / name / ".gitkeep").touch()
        laptop, test = (yaml.safe_load((ROOT / "conf" / e / "parameters.yml").read_text()) for e in ("laptop", "test"))
        small = {**_laid_over(laptop, test), "extends": "base"}
        (folder / PARAMETERS).write_text(yaml.safe_dump(small, sort_keys=False))
        self.command("git", "init", "--quiet")
        self.commit("Clone")

    def commit(self, message: str) -> None:
        self.command("git", "add", ".")
        self.command("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", message)

    def command(self, *words: str) -> str:
        done = subprocess.run(
            words, cwd=self.folder, env=self._environment(), capture_output=True, text=True, timeout=PATIENCE_SECONDS,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def dvc(self, *words: str) -> str:
        return self.command(sys.executable, "-m", "dvc", *words)

    def run_stages(self, *words: str) -> tuple[str, ...]:
        """The stages that a DVC command ran, in order."""
        return tuple(line.split("'")[1] for line in self.dvc(*words).splitlines() if line.startswith("Running stage '"))

    def read(self, name: str) -> Any:
        return json.loads((self.folder / "data" / "08_reporting" / "Pong-s1" / name).read_text())

    def learned(self) -> dict[str, int]:
        """What must persist, with the times of its last change."""
        folders = (self.folder / "data" / layer / "Pong-s1" for layer in ("03_primary", "06_models"))
        kept = (folder / name for folder, name in zip(folders, ("seed_replay", "checkpoints"), strict=True))
        found = [path for folder in kept for path in folder.rglob("*") if path.is_file()]
        return {str(path.relative_to(self.folder)): path.stat().st_mtime_ns for path in found}

    def _environment(self) -> dict[str, str]:
        unset = ("MLFLOW_TRACKING_URI", "KEDRO_ENV", "KEDRO_LOGGING_CONFIG")
        kept = {name: value for name, value in os.environ.items() if name not in unset}
        return {
            **kept,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
            "DO_NOT_TRACK": "true",
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(self.folder / ".dvc" / "tmp" / "site"),
        }


def _laid_over(base: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in other.items():
        merged[key] = _laid_over(base.get(key, {}), value) if isinstance(value, dict) else value
    return merged


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    return Clone(tmp_path_factory.mktemp("clone"))


@pytest.fixture(scope="module")
def first(clone: Clone) -> tuple[str, ...]:
    """The stages of the first `dvc repro`; scores and dvc.lock are then committed."""
    ran = clone.run_stages("repro")
    clone.commit("Reproduce")
    return ran


@pytest.mark.timeout(3000)
def test_the_whole_flow_runs_and_the_second_repro_does_nothing(clone: Clone, first: tuple[str, ...]) -> None:
    assert first == FLOW
    assert clone.read("scores.json")["agents"]["teacher"]["episodes"] == 4
    before = clone.learned()
    said = clone.dvc("repro")
    assert "Running stage" not in said
    assert "Data and pipelines are up to date." in said
    assert clone.learned() == before


@pytest.mark.timeout(3000)
def test_an_experiment_with_another_evaluation_runs_evaluate_and_what_follows(clone: Clone, first) -> None:
    before = clone.learned()
    ran = clone.run_stages("exp", "run", "--set-param", f"{PARAMETERS}:evaluate.episodes=3")
    assert ran == ("evaluate", "report", "register")
    assert clone.learned() == before  # neither checkpoints nor replay were touched
    assert clone.read("scores.json")["agents"]["teacher"]["episodes"] == 3
    changes = json.loads(clone.dvc("metrics", "diff", "--json"))["data/08_reporting/Pong-s1/scores.json"]
    change = changes["agents.teacher.episodes"]
    assert (change["old"], change["new"]) == (4, 3)
    assert "learning_curve.csv" in clone.dvc("plots", "diff", "--json", "HEAD", "workspace")
    assert "evaluate.episodes" in clone.dvc("exp", "show", "--csv")
