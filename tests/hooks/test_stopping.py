from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from meme57 import stopping

SECOND = """
import os, signal, time
from meme57 import stopping
stopping.install_handlers({action})
os.kill(os.getpid(), signal.SIGINT)
assert stopping.stop_requested()
os.kill(os.getpid(), signal.{second})
print("never")
"""


@pytest.mark.parametrize(("second", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_second_signal_ends_at_once_after_the_last_words(second: str, status: int) -> None:
    script = SECOND.format(action="lambda: os.write(1, b'marked')", second=second)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (status, "marked")
    assert done.stderr.count("stopping at the next checkpoint") == 1


NOTICES = """
import os, signal, sys
from meme57 import stopping
signal.signal(signal.{first}, signal.SIG_DFL)  # whoever runs the tests may ignore it
stopping.install_handlers()
for _ in range(3):
    os.kill(os.getpid(), signal.{first})
assert stopping.stop_requested()
os.kill(os.getpid(), signal.SIGINT)  # a person now; the first time
print("alive", flush=True)
os.kill(os.getpid(), signal.SIGTERM)
print("never")
"""


@pytest.mark.parametrize("first", ["SIGHUP", "SIGUSR1", "SIGUSR2"])
def test_notices_ask_however_often_and_only_a_second_demand_ends(first: str) -> None:
    """A terminal that closes sends SIGHUP twice, by the kernel and by the shell; Slurm sends SIGTERM after SIGUSR1."""
    script = NOTICES.format(first=first)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (143, "alive\n")
    assert (
        done.stderr.split()
        == (
            f"{first}: stopping at the next checkpoint. "
            "SIGINT: stopping at the next checkpoint; once more to stop at once."
        ).split()
    )


def test_ignored_notice_stays_ignored() -> None:
    """`nohup kedro run`."""
    script = NOTICES.format(first="SIGHUP").replace("assert", "assert not").replace("SIG_DFL", "SIG_IGN")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (143, "alive\n")
    assert "SIGHUP" not in done.stderr


@pytest.mark.parametrize("place", ["closed", "full"])
def test_saying_that_it_stops_never_ends_it(place: str) -> None:
    script = "import os\nos.close(2)\n" + NOTICES.format(first="SIGHUP")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", script if place == "closed" else script.replace("os.close(2)", "")],
            stdout=subprocess.PIPE, stderr=full, text=True, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stdout) == (143, "alive\n")


def test_worker_leaves_the_groups_signals_to_its_parent_and_is_asked_twice_without_harm() -> None:
    """`kill -TERM` to the whole group and then the parent's SIGTERM: a second one must not end it at once."""
    script = """
import os, signal
from meme57 import stopping
stopping.obey_parent(signal.SIGTERM)
for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
    os.kill(os.getpid(), number)
assert not stopping.stop_requested()
os.kill(os.getpid(), signal.SIGTERM)
restore = stopping.install_handlers()  # a member's pipeline
assert stopping.stop_requested()
os.kill(os.getpid(), signal.SIGTERM)
restore()
os.kill(os.getpid(), signal.SIGTERM)
print("alive")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr


def test_what_a_child_never_gets_this_process_gets_afterwards() -> None:
    restore = stopping.install_handlers()
    try:
        with stopping.kept_from_children():
            child = subprocess.Popen([sys.executable, "-c", "import time; print(1, flush=True); time.sleep(60)"],
                                     stdout=subprocess.PIPE)  # fmt: skip
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)
            assert not stopping.stop_requested()
        assert stopping.stop_requested()
        assert child.stdout is not None
        child.stdout.readline()
        for number in stopping.TO_ALL:
            child.send_signal(number)
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.2)
        child.terminate()
        assert child.wait(10) == -signal.SIGTERM
    finally:
        restore()


def test_last_words_that_hang_do_not_hold_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    script = "from meme57 import stopping as s\ns.LAST_WORDS_SECONDS = 0.1\n"
    script += SECOND.format(action="lambda: time.sleep(60)", second="SIGINT")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=20, check=False)
    assert done.returncode == 130


def test_first_signal_only_asks() -> None:
    restore = stopping.install_handlers()
    try:
        assert not stopping.stop_requested()
        os.kill(os.getpid(), signal.SIGINT)
        assert stopping.stop_requested()
    finally:
        restore()
    stopping.install_handlers()()
    assert not stopping.stop_requested()


def test_restored_handlers_work_as_before() -> None:
    stopping.install_handlers()()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_outside_the_main_thread_nothing_is_taken_over() -> None:
    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=stopping.install_handlers)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGINT) is before


def test_within_handlers_of_ours_a_stop_stays_asked_for_and_ignored_stays_ignored() -> None:
    """A suite's member runs a pipeline, with handlers of its own, inside a process that may have been asked already."""
    restore_outer = stopping.install_handlers()
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        stopping.request_stop()
        restore_inner = stopping.install_handlers()
        assert stopping.stop_requested()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        restore_inner()
    finally:
        signal.signal(signal.SIGINT, previous)
        restore_outer()
    stopping.install_handlers()()
    assert not stopping.stop_requested()
