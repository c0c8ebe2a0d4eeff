"""The tables of docs/performance.md are those of the stored figures, and a benchmark's command runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gpu_check
from gpu_sections import gpu_parameters
from presets import preset

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )


def test_the_page_holds_the_tables_of_the_figures() -> None:
    page = ROOT / "docs/performance.md"
    before = page.read_text()
    done = run("benchmarks/run.py", "--write")
    after = page.read_text()
    page.write_text(before)
    assert done.returncode == 0, done.stderr
    assert after == before, "type `python benchmarks/run.py --write`"
    for name in ("collection", "learner", "peer", "modes", "replay", "memory", "growth"):
        assert (ROOT / f"docs/data/performance/{name}.json").exists()
        assert f"<!-- {name} -->\n\n<!--" not in after


def test_an_unknown_benchmark_is_one_clear_line() -> None:
    done = run("benchmarks/run.py", "replya")
    assert done.returncode == 2
    assert "there is no benchmark replya: take collection, learner, update, peer" in done.stderr


def test_a_small_benchmark_measures_and_writes(tmp_path) -> None:
    path = tmp_path / "figures.json"
    options = ["--settings", "tiny", "--games", "Breakout", "--repetitions", "2", "--json", str(path)]
    done = run("benchmarks/bench_replay.py", *options)
    assert done.returncode == 0, done.stderr
    figures = json.loads(path.read_text())
    row = figures["settings"]["tiny"]["rows"][0]
    assert row["game"] == "Breakout"
    assert row["sample_to_copy"]["median"] > 0
    assert figures["machine"]["commit"]
    assert "| Breakout |" in done.stdout


WITHOUT_KEDRO = """
import importlib.machinery

BLOCKED = {"kedro", "mlflow", "optuna", "pandas", "pyarrow", "plotly", "ray", "sqlalchemy", "scipy"}
find = importlib.machinery.PathFinder.find_spec

def find_spec(cls, name, path=None, target=None):
    return None if name.partition(".")[0] in BLOCKED else find(name, path, target)

importlib.machinery.PathFinder.find_spec = classmethod(find_spec)
"""
FIGURES = {
    "facts": {"lstm_float32_both_passes_ms", "lstm_autocast_both_passes_ms", "launch_us", "wait_us"},
    "tests": {"tests", "outcomes"},
    "learner": {"updates_per_second", "hand_over_ms", "update_ms", "cudnn_benchmark_updates_per_second"},
    "profile": {"launches_an_update", "device_ms_an_update", "host_ms_an_update"},
    "acting": {"step_of_4_ms", "step_of_4_cpu_ms", "emulator_steps_per_second"},
    "overlapped": {"frames_per_second", "updates_per_second", "samples_per_insert"},
    "synchronous": {"frames_per_second", "updates_per_second", "samples_per_insert"},
    "replay": {"draw_ms"},
    "pong": {"frames", "updates", "greedy_return"},
}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("call", [pytest.param("A", marks=pytest.mark.slow), "B"])
def test_the_gpu_check_runs_in_miniature_without_kedro_and_mlflow(call: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_KEDRO)
    path = os.pathsep.join([str(tmp_path), str(ROOT / "src")])
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "gpu_check.py"), call, "--dry", "--out", "found"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    results = json.loads((tmp_path / "found/results.json").read_text())
    assert list(results) == list(gpu_check.CALLS[call])
    for section, figures in results.items():
        assert figures["error"] is None
        assert figures.keys() >= FIGURES[section], section
        numbers = [value for name, value in figures.items() if name.endswith(("_ms", "_us", "_per_second"))]
        assert all(value > 0 for value in numbers if section != "profile"), section  # a CPU launches no kernels
    if call == "A":
        assert results["tests"]["tests"] >= 6
        assert (tmp_path / "found/kernels.txt").stat().st_size > 0


def test_a_section_that_fails_does_not_end_the_gpu_check(monkeypatch, tmp_path: Path, capsys) -> None:
    monkeypatch.setattr(gpu_check, "DRY_SECONDS", 0.1)
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", "A", "--dry", "--out", str(tmp_path)])
    assert gpu_check.main() == 1
    results = json.loads((tmp_path / "results.json").read_text())
    assert {section: figures["error"] for section, figures in results.items()} == dict.fromkeys(
        gpu_check.CALLS["A"], "not done after 0.1 s"
    )


def test_the_gpu_check_keeps_to_its_time_and_to_the_locked_versions() -> None:
    assert all(sum(limits.values()) <= 240 for limits in gpu_check.CALLS.values())
    wheels = re.findall(r"[\w-]+==[\d.]+\d", gpu_check.__doc__)
    assert len(wheels) == 9
    locked = {line.split()[0] for line in (ROOT / "requirements.lock").read_text().splitlines() if line.strip()}
    assert set(wheels) <= locked


def test_the_gpu_check_measures_conf_gpu() -> None:
    assert gpu_parameters().configuration() == preset("gpu").configuration()
