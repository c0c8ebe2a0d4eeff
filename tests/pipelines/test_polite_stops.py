"""Telling about the work never ends it: a pipe, a terminal or a disk that goes away costs no frame, only the words."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import termios
import time
from pathlib import Path
from typing import IO

import pytest

SETTINGS = {
    "run.name": "long",
    "run.total_frames": 4_000_000,
    "run.checkpoint_period_frames": 2_000_000,  # none comes of itself while these tests look
    "run.log_period_frames": 500,
    "run.exact_resume": False,
}
LEARN = ("--pipelines", "setup,collect,learn", "--params", ",".join(f"{k}={v}" for k, v in SETTINGS.items()))
PATIENCE_SECONDS = 120
ROWS = 2
"""Rows of the learning curve that a start adds before it is stopped."""


class Long:
    """One run that every test here stops in its own way and goes on with."""

    def __init__(self, project) -> None:
        self.project = project
        folder = project.data / "08_reporting" / "long"
        self.curve = folder / "learning_curve.csv"
        self.checkpoints = project.data / "06_models" / "long" / "checkpoints"
        self.rows = 0

    def start(self, *, controls_terminal: bool = False, **options) -> subprocess.Popen[bytes]:
        def as_a_shell_would() -> None:
            for number in (signal.SIGINT, signal.SIGHUP):  # whoever runs the tests may ignore them
                signal.signal(number, signal.SIG_DFL)
            if controls_terminal:
                fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        return subprocess.Popen(
            self.project.command(*LEARN), cwd=self.project.folder, env=self.project.environment(),
            preexec_fn=as_a_shell_would, **options,
        )  # fmt: skip

    def learns(self) -> bool:
        """Whether this start has told of frames that no checkpoint has."""
        return self._lines() >= self.rows + ROWS

    def wait_until_it_learns(self, process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + PATIENCE_SECONDS
        while not self.learns():
            assert process.poll() is None, "it ended before it learned"
            assert time.monotonic() < end, "it does not learn"
            time.sleep(0.02)

    def check_stopped_politely(self, process: subprocess.Popen[bytes], *, number: int) -> None:
        """Status 130, nothing lost, MLflow says KILLED; `number` is that of its checkpoint."""
        assert process.wait(PATIENCE_SECONDS) == 130
        newest = max(self.checkpoints.glob("checkpoint-*"))
        assert newest.name == f"checkpoint-{number:06}"
        told = [line.split(",")[0] for line in self.curve.read_text().splitlines()[1:]]
        assert json.loads((newest / "manifest.json").read_text())["frames"] == float(told[-1])
        assert float(told[-1]) < SETTINGS["run.checkpoint_period_frames"]
        parent, *children = self.project.runs()
        assert (parent.info.status, children[-1].info.status) == ("KILLED", "KILLED")
        assert self._lines() > self.rows
        self.rows = self._lines()

    def _lines(self) -> int:
        return len(self.curve.read_text().splitlines()) - 1 if self.curve.exists() else 0


@pytest.fixture(scope="module")
def long(make_project) -> Long:
    return Long(make_project("long"))


def test_ctrl_c_while_tee_reads_along(long, tmp_path: Path) -> None:
    """`kedro run ... 2>&1 | tee log`: the terminal sends SIGINT to both, tee dies at once."""
    process = long.start(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, process_group=0)
    tee = subprocess.Popen(
        ["tee", str(tmp_path / "log")], stdin=process.stdout, stdout=subprocess.DEVNULL, process_group=process.pid,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.close()
    long.wait_until_it_learns(process)
    os.killpg(process.pid, signal.SIGINT)
    assert tee.wait(10) == -signal.SIGINT
    long.check_stopped_politely(process, number=1)
    assert "learn long  " in (tmp_path / "log").read_text()


def test_closed_terminal(long) -> None:
    """SIGHUP, and EIO on whatever is written from then on; the bar is on, as a terminal is there when it begins."""
    master, slave = os.openpty()
    process = long.start(stdin=slave, stdout=slave, stderr=slave, start_new_session=True, controls_terminal=True)
    os.close(slave)
    seen, end = b"", time.monotonic() + PATIENCE_SECONDS
    while not long.learns():
        assert time.monotonic() < end, seen.decode(errors="replace")
        if select.select([master], [], [], 0.05)[0]:
            with contextlib.suppress(OSError):  # EIO: it ended
                seen += os.read(master, 1 << 16)
    os.close(master)
    long.check_stopped_politely(process, number=2)
    assert b"\x1b[" in seen  # a bar, not plain lines


@pytest.fixture
def full() -> IO[bytes]:
    """A log file on a full disk."""
    with Path("/dev/full").open("wb") as stream:
        yield stream


def test_slurm_warns_and_the_log_disk_is_full(long, full: IO[bytes]) -> None:
    """SIGUSR1 before a pre-emption; every line of the log is ENOSPC."""
    process = long.start(stdout=full, stderr=full)
    long.wait_until_it_learns(process)
    process.send_signal(signal.SIGUSR1)
    long.check_stopped_politely(process, number=3)
