from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

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
