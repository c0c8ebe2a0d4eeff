"""The tables of docs/performance.md are those of the stored figures, and a benchmark's command runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

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
    for name in ("collection", "learner", "modes", "replay", "memory", "growth"):
        assert f"<!-- {name} -->\n|" in after.replace("**laptop**", "|"), name


def test_an_unknown_benchmark_is_one_clear_line() -> None:
    done = run("benchmarks/run.py", "replya")
    assert done.returncode == 2
    assert "there is no benchmark replya: take collection, learner" in done.stderr


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
