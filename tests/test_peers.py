"""Rows and clock of the comparison with other agents (benchmarks/peers)."""

from __future__ import annotations

import csv
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

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


ALL = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "peers" / "all.py"), run_name="all")
ROW = "{},{},{},1800,1790,1000000,1.0,0.5,10"
FAKE = """
import pathlib, sys
out, row = pathlib.Path(sys.argv[1]), sys.argv[2]
if "ppo,Pong" not in row:  # it ended before its first score
    out.write_text("agent,game,seed,seconds,cpu_seconds,frames,mean,deviation,episodes\\n" + row + "\\n")
sys.exit("ppo,Boxing" in row or "ppo,Freeway" in row)
"""


@pytest.mark.skipif(shutil.which("taskset") is None, reason="a run is bound to a core by taskset")
def test_whole_runs_are_kept_and_not_made_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def command(run: tuple[str, str, int], _: Any, out: Path) -> list[str]:
        return [sys.executable, "-c", FAKE, str(out), ROW.format(*run)]

    monkeypatch.setitem(ALL["work"].__globals__, "command", command)
    rows = tmp_path / "rows.csv"
    monkeypatch.setattr(
        sys, "argv", ["all.py", "--sb3", "python", "--cores", str(min(os.sched_getaffinity(0))), "--out", str(rows)]
    )
    ALL["main"]()
    found = list(csv.DictReader(rows.read_text().splitlines()))
    assert [(row["agent"], row["game"], row["seed"]) for row in found] == [
        (agent, game, seed)
        for game in ALL["GAMES"]
        for seed in "12"
        for agent in ("meme57", "ppo", "qrdqn")
        if agent != "ppo" or game == "Breakout"
    ]
    told = capsys.readouterr().out
    assert "('ppo', 'Boxing', 1) ended with status 1: see" in told
    assert "('ppo', 'Pong', 1) ended with status 0 and no score: see" in told
    assert list(ALL["runs"](rows, ["meme57", "ppo"])) == [
        ("ppo", game, seed) for game in ("Pong", "Boxing", "Freeway") for seed in (1, 2)
    ]


STOPPED = """
import runpy, sys
tool = runpy.run_path(sys.argv[1], run_name="all")
sleep = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(60)"
begun = sys.argv[2]
tool["work"].__globals__["command"] = lambda run, *_: [sys.executable, "-c", sleep, begun + "-".join(map(str, run))]
sys.argv = ["all.py", "--cores", sys.argv[3], "--out", begun + "rows.csv"]
tool["main"]()
"""


@pytest.mark.skipif(shutil.which("taskset") is None, reason="a run is bound to a core by taskset")
def test_ctrl_c_ends_the_run_and_begins_no_other(tmp_path: Path) -> None:
    tool = Path(__file__).parents[1] / "benchmarks" / "peers" / "all.py"
    words = [sys.executable, "-c", STOPPED, str(tool), f"{tmp_path}/begun-", str(min(os.sched_getaffinity(0)))]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True)
    end = time.monotonic() + 60
    while not (begun := list(tmp_path.glob("begun-meme57-*[12]"))) and time.monotonic() < end:
        time.sleep(0.05)
    assert len(begun) == 1
    os.killpg(process.pid, signal.SIGINT)
    assert "stopped: the same command makes what is missing" in process.communicate(timeout=30)[1]
    assert list(tmp_path.glob("begun-meme57-*[12]")) == begun
    assert not (tmp_path / "begun-rows.csv").exists()


def test_the_table_has_the_scores_at_the_marks_and_when_a_human_was_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = Path(__file__).parents[1] / "docs" / "generate"
    monkeypatch.syspath_prepend(pages)
    made = runpy.run_path(str(pages / "peers_table.py"), run_name="peers_table")
    head = "agent,game,seed,seconds,cpu_seconds,frames,mean"
    lines = [
        "meme57,Pong,1,590,580,900000,-5",
        "meme57,Pong,1,1205,1190,1500000,15",
        "meme57,Pong,1,1810,1795,2600000,12.5",
    ]
    lines += [
        "meme57,Pong,2,1820,1800,2500000,3",
        "ppo,Pong,1,640,630,900000,-20.5",
        "ppo,Pong,1,1800,1780,4000000,-18",
    ]
    rows = list(csv.DictReader([head, *lines]))
    *_, missing = lines = made["table"](rows).splitlines()
    ours, ppo = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:4]]
    assert missing == (
        "Not run: Pong (QR-DQN, seed 1; PQN, LSTM, seed 1; PPO, seed 2; QR-DQN, seed 2; PQN, LSTM, seed 2), "
        "Breakout (every run), Boxing (every run), Freeway (every run)."
    )
    assert ours == ["Pong", "meme57", "-5.0, -", "15.0, -", "12.5, 3.0", "2.6 M, 2.5 M", "30, 30", "20 min, never"]
    assert ppo == ["Pong", "PPO", "-", "-20.5", "-18.0", "4.0 M", "30", "never"]
    assert made["table"]([]) == "Not run yet.\n"
    assert made["plot"](rows).startswith("<?xml")
