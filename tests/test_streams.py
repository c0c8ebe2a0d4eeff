"""Whatever becomes of standard output and error, no word about the work raises, or lands in a file of the work."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

TELLING = """
import logging, os, sys, warnings
logging.basicConfig()  # a handler that holds the stream of before, as Kedro's does
from meme57 import streams
streams.never_fail()
import click
from rich.console import Console
from rich.logging import RichHandler
from meme57.learning.progress import counter
with open(sys.argv[1], "w") as work:
    for _ in range(2):
        print("words", flush=True)
        print("words", file=sys.stderr, flush=True)
        click.echo("words")
        warnings.warn("words")
        logging.warning("words")
        RichHandler().emit(logging.makeLogRecord({"msg": "words"}))
        Console().print("words")
        Console(stderr=True).print("words")
        with counter("words", "words") as progress:
            progress(1, 2)
    work.write("done")
"""


@contextlib.contextmanager
def full_disk() -> Iterator[int]:
    with Path("/dev/full").open("wb") as stream:
        yield stream.fileno()


@contextlib.contextmanager
def closed_pipe() -> Iterator[int]:
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@contextlib.contextmanager
def closed_terminal() -> Iterator[int]:
    master, slave = os.openpty()
    os.close(master)
    yield slave
    os.close(slave)


@pytest.mark.parametrize("place", [full_disk, closed_pipe, closed_terminal])
def test_words_that_nobody_takes_cost_nothing(tmp_path: Path, place: Callable[[], Iterator[int]]) -> None:
    with place() as descriptor:  # type: ignore[attr-defined]
        done = subprocess.run(
            [sys.executable, "-c", TELLING, str(tmp_path / "work")], stdout=descriptor, stderr=descriptor, check=False
        )
    assert done.returncode == 0
    assert (tmp_path / "work").read_text() == "done"


def test_words_of_a_process_without_streams_go_into_no_file_of_the_work(tmp_path: Path) -> None:
    """`>&- 2>&-`: the next file that is opened would have their numbers, 1 and 2."""
    line = '"$0" -c "$1" "$2" >&- 2>&- <&-'
    done = subprocess.run(["sh", "-c", line, sys.executable, TELLING, str(tmp_path / "work")], check=False)
    assert done.returncode == 0
    assert (tmp_path / "work").read_text() == "done"


def test_words_arrive_where_somebody_reads(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TELLING, str(tmp_path / "work")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.count("words") == 2 * 4
    assert done.stderr.count("WARNING:root:words\n") == 2


def test_a_pipe_that_another_program_left_not_blocking_gets_everything() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    script = "from meme57 import streams; streams.never_fail(); print('x' * 1_000_000)"
    process = subprocess.Popen([sys.executable, "-c", script], stdout=writer)
    os.close(writer)
    time.sleep(0.5)  # it is full by now
    with os.fdopen(reader, "rb") as stream:
        assert len(stream.read()) == 1_000_001
    assert process.wait() == 0


def test_who_asked_is_told_once_that_the_product_is_lost() -> None:
    script = (
        "import sys; from meme57 import streams; lost = []; streams.never_fail(on_lost=lost.append)\n"
        "print('a', flush=True); print('b', flush=True); print('c', file=sys.stderr)\n"
        "sys.exit(lost[0].errno + len(lost))"
    )
    with full_disk() as descriptor:
        done = subprocess.run([sys.executable, "-c", script], stdout=descriptor, stderr=descriptor, check=False)
    assert done.returncode == 28 + 1  # ENOSPC, once


def test_streams_that_others_put_in_place_stay(capsys) -> None:
    from meme57 import streams

    before = (sys.stdout, sys.stderr)
    streams.never_fail()
    assert (sys.stdout, sys.stderr) == before
