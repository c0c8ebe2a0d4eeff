"""Tasks in processes of their own, and as Ray tasks."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from meme57.executor import LocalExecutor, make_executor
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
from meme57.executor import LocalExecutor
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


def test_a_ray_task_sees_the_gpus_that_it_reserves(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)  # Ray would count what it names, be it nothing
    ray.init(address="local", num_cpus=1, num_gpus=1, include_dashboard=False, log_to_driver=False)
    try:
        for gpus, seen in ((0.5, "0"), (0.0, None)):
            [outcome] = make_executor("ray", workers=1, cpus=0.5, gpus=gpus).run(os.getenv, ["CUDA_VISIBLE_DEVICES"])
            assert outcome.value == seen
        assert "waits" not in caplog.text
        make_executor("ray", workers=1, gpus=2.0).run(os.getenv, ["HOME"], stop=lambda: True)
        assert "a task reserves 2 GPUs, and the Ray cluster has 1: it waits for more" in caplog.text
    finally:
        ray.shutdown()


def wait_for_two_stops(folder: str) -> str:
    """As when a scheduler warns the whole group, and SIGTERM then comes from it and from the parent."""
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        os.kill(os.getpid(), number)
    stopped = wait_for_stop(folder)
    os.kill(os.getpid(), signal.SIGTERM)
    print("words to a terminal that is gone", flush=True)
    return stopped


def test_what_the_group_gets_and_a_second_sigterm_end_no_task(tmp_path: Path) -> None:
    script = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_executor import wait_for_two_stops
from meme57.executor import LocalExecutor
from pathlib import Path
if __name__ == "__main__":
    folder = Path({str(tmp_path)!r})
    [outcome] = LocalExecutor(workers=1).run(wait_for_two_stops, [str(folder)], stop=(folder / "began").exists)
    (folder / "outcome").write_text(repr(outcome))
"""
    (tmp_path / "parent.py").write_text(script)
    with Path("/dev/full").open("wb") as full:
        subprocess.run([sys.executable, str(tmp_path / "parent.py")], stdout=full, stderr=full, check=True)
    assert (tmp_path / "outcome").read_text() == "Outcome(value='stopped', error=None)"


def test_a_task_gets_none_of_the_groups_signals_while_it_begins(tmp_path: Path) -> None:
    """Its imports take seconds, in which it has no handlers."""
    done = in_a_group(
        """
def stop():
    warn_the_group()
    return False
print(LocalExecutor(workers=1).run(say_done, [1], stop=stop)[0])
""",
        tmp_path,
    )
    assert done.stdout == "Outcome(value='done', error=None)\n", done.stderr
    assert "Traceback" not in done.stderr


def in_a_group(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A process that leads a group of its own, survives what is sent to all of it, and runs tasks of this module."""
    lines = f"""
import os, signal, sys
from pathlib import Path
from test_executor import *
GROUP = (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
folder = Path({str(folder)!r})
def warn_the_group():
    for number in GROUP:
        os.killpg(0, number)
if __name__ == "__main__":
    os.setsid()
    for number in GROUP:
        signal.signal(number, lambda *_: None)
""" + textwrap.indent(script, "    ")
    (folder / "parent.py").write_text(lines)
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, str(folder / "parent.py")], env={**os.environ, "PYTHONPATH": path}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip


def say_done(_: int) -> str:
    return "done"


def wait_on_ray(folder: str) -> str:
    Path(folder, "began").touch()
    while not stop_requested():
        time.sleep(0.02)
    Path(folder, "checkpoint").touch()
    return "stopped"


def test_ray_outlives_what_the_group_gets_and_passes_a_stop_on(tmp_path: Path) -> None:
    """A closed terminal sends SIGHUP to Ray's processes, too; a cancelled task writes its checkpoint."""
    pytest.importorskip("ray")
    done = in_a_group(
        """
def stop():
    if (folder / "began").exists():
        warn_the_group()
        return True
    return False
print(make_executor("ray", workers=1).run(wait_on_ray, [str(folder)], stop=stop)[0])
""",
        tmp_path,
    )
    assert "Outcome(value='stopped', error=None)\n" in done.stdout, done.stderr
    assert (tmp_path / "checkpoint").exists()
