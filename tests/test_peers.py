"""Rows and clock of the comparison with other agents (benchmarks/peers)."""

from __future__ import annotations

import csv
import runpy
import time
from pathlib import Path

import pytest

TOOLS = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "peers" / "rows.py"))


def test_the_clock_stands_still_while_games_are_scored() -> None:
    clock = TOOLS["Clock"]()
    with clock:
        began = time.process_time()
        while time.process_time() - began < 0.2:
            pass
    assert clock.seconds < 0.15
    assert clock.cpu_seconds < 0.15
    time.sleep(0.05)
    assert clock.seconds >= 0.05


def test_rows_of_all_agents_have_the_same_columns(tmp_path: Path) -> None:
    for agent, returns in (("ppo", [1.0, 3.0]), ("meme57", [5.0])):
        TOOLS["append"](tmp_path / "rows.csv", (agent, "Pong", 1), TOOLS["Clock"](), 100_000, returns)
    rows = list(csv.DictReader((tmp_path / "rows.csv").read_text().splitlines()))
    assert [(row["agent"], float(row["mean"]), row["episodes"]) for row in rows] == [
        ("ppo", 2.0, "2"), ("meme57", 5.0, "1"),
    ]  # fmt: skip
    assert float(rows[0]["deviation"]) == pytest.approx(1.41)
    assert tuple(rows[0]) == TOOLS["COLUMNS"]
