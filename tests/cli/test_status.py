"""`meme57 status` on a trained project: what stands there, and who is at work."""

from __future__ import annotations

import errno
import json
import os
import pty
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from meme57.config import parse_parameters
from meme57.files import write_json
from meme57.lock import LOCK, hold
from meme57.tracking.overview import overview, run_folder
from meme57.tracking.run_record import TrackingRun, new_record, record_path

RUN = "Pong-s1"


def test_a_finished_run(here: Path, meme57) -> None:
    result = meme57("status", "--json")
    [run] = json.loads(result.output)
    scores = json.loads((here / "data" / "08_reporting" / RUN / "scores.json").read_text())
    assert (run["name"], run["state"], run["game"], run["seed"]) == (RUN, "evaluated", "Pong", 1)
    assert run["total_frames"] == 12_000 <= run["frames"] < 12_200
    assert run["holder"] is None
    assert run["remaining_seconds"] is None
    assert run["scores"]["teacher"]["mean"] == scores["agents"]["teacher"]["mean"]
    assert run["protocol"] == scores["protocol"]["name"]
    table = meme57("status", "--run", RUN).output
    assert RUN in table
    assert "evaluated" in table
    assert "of 12,000" in table


def test_a_run_at_work_names_its_process_speed_and_time_left(here: Path, meme57) -> None:
    curve = here / "data" / "08_reporting" / RUN / "learning_curve.csv"
    curve.write_text("frames,speed/frames_per_second,episodes/return\n2000,100,-21\n14000,100,-20\n")
    record = here / "data" / "02_intermediate" / RUN / "run_record.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "total_frames": 26_000}))
    with hold(here / "data" / "06_models" / RUN / "checkpoints"):
        [run] = json.loads(meme57("status", "--json").output)
        table = meme57("status").output
    assert (run["state"], run["holder"]["pid"]) == ("learning", os.getpid())
    assert run["remaining_seconds"] == 120.0  # (26,000 - 14,000) frames at 100 frames/s
    assert "2 min 00 s" in table
    assert f"process {os.getpid()} on " in table
    assert json.loads(meme57("status", "--json").output)[0]["state"] == "stopped"  # 14,000 of 26,000, nobody at work


@pytest.mark.parametrize(
    ("frames", "random", "human"), [(108_000, "-20.7", "14.6"), (600, "-", "-")], ids=["whole games", "cut games"]
)
def test_the_return_stands_beside_random_and_human(empty: Path, meme57, frames: int, random: str, human: str) -> None:
    """Published scores are of whole games, so a return from cut ones stands alone."""
    settings = parse_parameters({"env": {"game": "Pong", "max_episode_frames": frames}})
    given = TrackingRun(
        run_id="c", parent_run_id="p", experiment_id="1", tracking_uri="u", created="then", commit="abc"
    )
    write_json(record_path(empty, RUN), new_record(settings, given))
    curve = run_folder(empty, "reporting", RUN) / "learning_curve.csv"
    curve.parent.mkdir(parents=True)
    curve.write_text("frames,episodes/return\n100,-19.5\n")
    heads, _, row = (line.split() for line in meme57("status").output.strip().splitlines())
    assert heads[4:7] == ["return", "random", "human"]
    assert row[-5:-2] == ["-19.5", random, human]


def test_a_lock_that_a_killed_process_left_is_nobody(here: Path, meme57) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    folder = here / "data" / "06_models" / RUN / "checkpoints"
    with hold(folder):
        left = json.loads((folder / LOCK).read_text())
    (folder / LOCK).write_text(json.dumps({**left, "pid": ended.pid}))
    assert json.loads(meme57("status", "--json").output)[0]["holder"] is None
    (folder / LOCK).write_text(json.dumps({**left, "pid": os.getpid()}))  # its number was given to somebody else
    assert json.loads(meme57("status", "--json").output)[0]["holder"] is None


@pytest.mark.parametrize("spoilt", ["run_record.json", "learning_curve.csv", "scores.json"])
def test_damaged_files_spoil_no_other_run(here: Path, meme57, spoilt: str) -> None:
    [path] = [path for path in (here / "data").glob(f"*/{RUN}/*") if path.name == spoilt]
    path.write_bytes(b"\xff\x00 [")
    result = meme57("status")
    assert result.exit_code == 0, result.output
    assert RUN in result.output
    assert ("damaged" in result.output) == (spoilt == "run_record.json")


@pytest.mark.parametrize("name", ["run_record.json", "learning_curve.csv", "scores.json"])
def test_a_file_that_cannot_be_read_now_is_said_not_left_out(
    here: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    opened = Path.open

    def refuse(path: Path, *arguments: Any, **named: Any) -> Any:
        if path.name == name:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return opened(path, *arguments, **named)

    monkeypatch.setattr(Path, "open", refuse)
    assert f"{name} cannot be read (Input/output error)" in (overview(here, RUN).note or "")


def test_frames_come_from_the_newest_manifest_where_there_is_no_curve(here: Path) -> None:
    (here / "data" / "08_reporting" / RUN / "learning_curve.csv").unlink()
    found = overview(here, RUN)
    assert 12_000 <= found.frames < 12_200
    assert found.frames_per_second is None


def test_watch_shows_again_until_ctrl_c(here: Path, environment: dict[str, str]) -> None:
    command = [sys.executable, "-c", "from meme57.cli import main; main()", "status", "--watch"]
    terminal, inside = pty.openpty()
    process = subprocess.Popen(
        command, cwd=here, env={**environment, "TERM": "xterm"}, stdout=inside, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(inside)
    seen = b""
    while seen.count(RUN.encode()) < 2:  # shown, and shown again
        assert select.select([terminal], [], [], 120)[0], seen
        seen += os.read(terminal, 65_536)
    process.send_signal(signal.SIGINT)
    while select.select([terminal], [], [], 30)[0]:  # its last words must go somewhere
        try:
            os.read(terminal, 65_536)
        except OSError:  # it ended
            break
    _, err = process.communicate(timeout=60)
    os.close(terminal)
    assert (process.returncode, err) == (0, b"")
