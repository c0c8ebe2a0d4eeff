"""Rows and clock of the comparison with other agents (benchmarks/peers)."""

from __future__ import annotations

import csv
import runpy
import time
from functools import partial
from pathlib import Path

import pytest

TOOLS = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "peers" / "rows.py"))


def test_the_clock_stands_still_while_games_are_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    now = {"monotonic": 100.0, "process_time": 7.0}
    for name in now:
        monkeypatch.setattr(time, name, partial(now.__getitem__, name))
    clock = TOOLS["Clock"]()
    now |= {"monotonic": 110.0, "process_time": 12.0}
    with clock:
        now |= {"monotonic": 150.0, "process_time": 80.0}
    now |= {"monotonic": 151.0, "process_time": 81.0}
    assert (clock.seconds, clock.cpu_seconds) == (11.0, 6.0)


def test_rows_of_all_agents_have_the_same_columns(tmp_path: Path) -> None:
    for agent, returns in (("ppo", [1.0, 3.0]), ("meme57", [5.0])):
        TOOLS["append"](tmp_path / "rows.csv", (agent, "Pong", 1), TOOLS["Clock"](), 100_000, returns)
    rows = list(csv.DictReader((tmp_path / "rows.csv").read_text().splitlines()))
    assert [(row["agent"], float(row["mean"]), row["episodes"]) for row in rows] == [
        ("ppo", 2.0, "2"), ("meme57", 5.0, "1"),
    ]  # fmt: skip
    assert float(rows[0]["deviation"]) == pytest.approx(1.41)
    assert tuple(rows[0]) == TOOLS["COLUMNS"]
