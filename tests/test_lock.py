"""One process for each folder: the second is refused by name, a dead one's lock is taken over, whatever it says."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from meme57.errors import RunConflictError, StorageError
from meme57.lock import LOCK, hold, refuse_if_held, share

HOLDER = """
import pathlib, sys, time
from meme57 import lock
with getattr(lock, sys.argv[2])(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def another_process(folder: Path, how: str = "hold") -> Iterator[subprocess.Popen[str]]:
    """A living process that holds the folder, or shares it."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder), how], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()


def test_the_second_is_refused_and_told_who_the_first_is(tmp_path) -> None:
    with another_process(tmp_path) as first:
        for ask in (lambda: hold(tmp_path).__enter__(), lambda: refuse_if_held(tmp_path)):
            with pytest.raises(
                RunConflictError, match=rf"in use by process {first.pid} on .* since 20.*run\.name"
            ) as caught:
                ask()
            assert "\n" not in str(caught.value)
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == first.pid


def test_within_one_process_too(tmp_path) -> None:
    with hold(tmp_path), pytest.raises(RunConflictError, match=f"process {os.getpid()} "), hold(tmp_path):
        pass


def test_it_goes_with_its_holder(tmp_path) -> None:
    with pytest.raises(ZeroDivisionError), hold(tmp_path / "run"):
        raise ZeroDivisionError
    assert list((tmp_path / "run").iterdir()) == []
    refuse_if_held(tmp_path / "run")
    refuse_if_held(tmp_path / "nowhere")


def test_what_a_killed_process_leaves_is_taken_over_with_a_message(tmp_path, caplog) -> None:
    with another_process(tmp_path) as first:
        first.send_signal(signal.SIGKILL)
        first.wait()
        assert (tmp_path / LOCK).exists()
        refuse_if_held(tmp_path)
        with caplog.at_level(logging.WARNING), hold(tmp_path):
            assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    assert f"took over {tmp_path} from process {first.pid} on" in caplog.text


def test_the_pid_of_a_living_process_is_no_lock(tmp_path) -> None:
    """After a reboot the number belongs to somebody else."""
    (tmp_path / LOCK).write_text(json.dumps({"pid": os.getppid(), "host": "vm", "since": "then", "command": "x"}))
    with hold(tmp_path):
        pass


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[1]", b"null", b'{"pid": 1}', b"\x00\xff", b'{"pid": {}, "host": "\\n"}']
)
def test_a_lock_file_may_hold_anything(tmp_path, text: bytes, caplog) -> None:
    (tmp_path / LOCK).write_bytes(text)
    with caplog.at_level(logging.WARNING), hold(tmp_path):
        (tmp_path / LOCK).write_bytes(text)
        with pytest.raises(RunConflictError, match="in use by another process: wait") as caught:
            refuse_if_held(tmp_path)
    assert "\n" not in str(caught.value)
    assert ("another process, which is gone" in caplog.text) == bool(text)


def test_a_lock_removed_by_its_holder_is_not_held_by_the_next(tmp_path) -> None:
    """Who opened the old file meanwhile must not think that it holds the new one."""
    from meme57.lock import _acquire

    first = _acquire(tmp_path / LOCK)
    late = (tmp_path / LOCK).open("a+")
    (tmp_path / LOCK).unlink()
    first.close()
    with hold(tmp_path):
        assert not os.path.samestat(os.fstat(late.fileno()), (tmp_path / LOCK).stat())
        with pytest.raises(RunConflictError):
            refuse_if_held(tmp_path)
    late.close()


@pytest.mark.parametrize("lock", [hold, share])
def test_a_holder_whose_folder_was_removed_leaves_the_next_ones_lock(tmp_path, lock) -> None:
    folder = tmp_path / "run"
    with lock(folder):
        shutil.rmtree(folder)
        second = hold(folder)
        second.__enter__()
    with pytest.raises(RunConflictError):
        refuse_if_held(folder)
    second.__exit__(None, None, None)
    assert not (folder / LOCK).exists()


@pytest.mark.parametrize("lock", [hold, share])
def test_a_folder_that_cannot_be_written_to_is_one_line(tmp_path, lock) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StorageError, match=r"file cannot be written .*make room"), lock(tmp_path / "file"):
        pass


def test_many_share_a_folder_and_keep_one_away_who_would_hold_it(tmp_path) -> None:
    with another_process(tmp_path, "share") as first, another_process(tmp_path, "share") as second, share(tmp_path):
        for ask in (lambda: hold(tmp_path).__enter__(), lambda: refuse_if_held(tmp_path)):
            with pytest.raises(RunConflictError) as caught:
                ask()
            for pid in (first.pid, second.pid, os.getpid()):
                assert f"process {pid} on" in str(caught.value)
            assert "\n" not in str(caught.value)


def test_whoever_shares_goes_with_its_process_and_is_named_no_more(tmp_path) -> None:
    with another_process(tmp_path, "share") as killed, another_process(tmp_path, "share") as other:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        with pytest.raises(RunConflictError, match=f"process {other.pid} on") as caught:
            refuse_if_held(tmp_path)
        assert f"process {killed.pid} on" not in str(caught.value)
    with hold(tmp_path):
        pass


def test_a_folder_that_is_held_is_not_shared(tmp_path) -> None:
    with another_process(tmp_path) as holder, pytest.raises(RunConflictError, match=f"process {holder.pid} on"):
        share(tmp_path).__enter__()


def test_the_last_who_shared_leaves_nothing(tmp_path) -> None:
    folder = tmp_path / "run"
    with share(folder):
        with share(folder):
            pass
        with pytest.raises(RunConflictError):
            refuse_if_held(folder)
    assert list(folder.iterdir()) == []


def test_sharing_survives_others_who_come_and_go(tmp_path) -> None:
    """Who leaves takes the file along: whoever comes at that moment asks again."""
    script = (
        "import pathlib, sys\nfrom meme57.lock import share\n"
        "for _ in range(300):\n    with share(pathlib.Path(sys.argv[1])):\n        pass\n"
    )
    folder = tmp_path / "run"
    processes = [subprocess.Popen([sys.executable, "-c", script, str(folder)]) for _ in range(3)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]
    assert list(folder.iterdir()) == []


def test_half_a_character_in_a_lock_is_no_holder(tmp_path: Path) -> None:
    owner = {"pid": os.getpid(), "host": "h", "since": "now", "command": "\ud800"}
    (tmp_path / LOCK).write_text(json.dumps(owner))
    with (tmp_path / LOCK).open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(RunConflictError, match="another process"):
            refuse_if_held(tmp_path)
