"""One list of switches: set by importing the package, whatever they were, and the same wherever we start programs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from meme57.privacy import SWITCHES

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
OPPOSITE = dict.fromkeys(SWITCHES, "") | {"DO_NOT_TRACK": "false", "RAY_USAGE_STATS_ENABLED": "1"}


@pytest.mark.parametrize("before", [{}, OPPOSITE], ids=["unset", "opposite"])
def test_importing_the_package_sets_every_switch(before: dict[str, str]) -> None:
    script = "import meme57, os, json; print(json.dumps(dict(os.environ)))"
    kept = {name: value for name, value in os.environ.items() if name not in SWITCHES}
    done = subprocess.run([sys.executable, "-c", script], env={**kept, **before}, capture_output=True, check=True)
    assert json.loads(done.stdout).items() >= SWITCHES.items()


def test_nothing_is_imported_before_the_switches() -> None:
    script = "import sys; before = set(sys.modules); import meme57; print(set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert {name.partition(".")[0] for name in re.findall(r"'(\w[\w.]*)'", done.stdout)} <= {"meme57", "__future__"}


def test_makefile_and_image_have_the_same_switches() -> None:
    exported = dict(re.findall(r"^export (\w+) := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert exported == SWITCHES
    image = re.sub(r"\\\n", " ", (ROOT / "deploy/Dockerfile").read_text())
    (line,) = re.findall(r"^ENV (DO_NOT_TRACK.*)$", image, re.MULTILINE)
    assert dict(word.split("=", 1) for word in line.split()) == SWITCHES


def test_clusters_have_those_of_ray() -> None:
    rays = {name: value for name, value in SWITCHES.items() if name.startswith("RAY_")}
    head, workers = (
        group["template"]["spec"]["containers"][0]["env"]
        for spec in [next(yaml.safe_load_all((ROOT / "deploy/kuberay.yaml").read_text()))["spec"]]
        for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"])
    )
    for variables in (head, workers):
        assert {entry["name"]: entry["value"] for entry in variables}.items() >= rays.items()
    machines = yaml.safe_load((ROOT / "deploy/ray-cluster.yaml").read_text())
    for group in ("head_start_ray_commands", "worker_start_ray_commands"):
        (start,) = (command for command in machines[group] if "ray start" in command)
        assert all(f"{name}={value} " in start for name, value in rays.items())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_people_are_told_to_type_has_the_switches(page: Path) -> None:
    blocks = re.findall(r"^ *```(\w+)\n(.*?)^ *```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    for language, block in blocks:
        for line in block.splitlines():
            if language == "bash" and re.search(r"(^|[ /])mlflow ", line.partition("#")[0]):
                assert line.startswith("MLFLOW_DISABLE_TELEMETRY=true "), line
        first = re.search(r"^(import|from) (mlflow|onnxruntime|ray|meme57)\b", block, re.MULTILINE)
        assert language != "python" or first is None or first[2] == "meme57", block


def test_files_of_the_checkout_refuse() -> None:
    assert yaml.safe_load((ROOT / ".telemetry").read_text()) == {"consent": False}
    config = (ROOT / ".dvc/config").read_text()
    assert "analytics = false" in config
    assert "check_update = false" in config
