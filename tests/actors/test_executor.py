"""Tasks in processes of their own, and as Ray tasks."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from meme57.actors.executor import LocalExecutor, make_executor
from meme57.stopping import stop_requested


def double(number: int) -> tuple[int, int]:
    if number == 2:
        raise ValueError("two\nis not doubled")
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * number, os.getpid()


def wait_for_stop(folder: str) -> str:
    os.kill(os.getpid(), signal.SIGINT)  # Ctrl-C, which the terminal sends to parent and child
    assert not stop_requested()
    Path(folder, "began").touch()
    while not stop_requested():
        time.sleep(0.02)
    return "stopped"


def test_a_raising_and_a_dying_task_do_not_end_the_others() -> None:
    outcomes = LocalExecutor(workers=2).run(double, [1, 2, 3, 4])
    assert [outcome.value and outcome.value[0] for outcome in outcomes] == [2, None, None, 8]
    assert [outcome.error for outcome in outcomes] == [
        None, "ValueError: two is not doubled", "its process died with exit code -9", None
    ]  # fmt: skip
    processes = {outcomes[0].value[1], outcomes[3].value[1], os.getpid()}
    assert len(processes) == 3


def test_stopping_reaches_running_tasks_and_begins_no_others(tmp_path: Path) -> None:
    outcomes = LocalExecutor(workers=1).run(wait_for_stop, [str(tmp_path)] * 2, stop=(tmp_path / "began").exists)
    assert (outcomes[0].value, outcomes[1].error) == ("stopped", "not begun: asked to stop")


def test_tasks_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    script = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_executor import forever
from meme57.actors.executor import LocalExecutor
if __name__ == "__main__":
    LocalExecutor(workers=1).run(forever, [{str(tmp_path / "pid")!r}])
"""
    (tmp_path / "parent.py").write_text(script)
    parent = subprocess.Popen([sys.executable, str(tmp_path / "parent.py")])
    deadline = time.monotonic() + 60
    while not (tmp_path / "pid").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    child = int((tmp_path / "pid").read_text())
    parent.kill()
    parent.wait()
    while _exists(child):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def forever(path: str) -> None:
    Path(path + ".tmp").write_text(str(os.getpid()))
    os.replace(path + ".tmp", path)
    time.sleep(300)


def _exists(process_id: int) -> bool:
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # a child that nobody waits for any more


def test_two_ray_tasks() -> None:
    ray = pytest.importorskip("ray")
    try:
        outcomes = make_executor("ray", workers=2).run(os.path.realpath, ["/proc/self", 3])
    finally:
        ray.shutdown()
    assert re.fullmatch(r"/proc/[0-9]+", outcomes[0].value)
    assert outcomes[0].value != os.path.realpath("/proc/self")
    assert (outcomes[1].value, str(outcomes[1].error)[:10]) == (None, "TypeError:")
