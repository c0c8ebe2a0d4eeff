"""Standard streams whose writes never fail: reporting on the work never ends it.

The reader may go away (EPIPE), the terminal may be closed (EIO), the disk of a log may be full (ENOSPC). Then the text
is lost, and the work continues. Prints, progress bars and log handlers all end in these two streams.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import select
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

OnLost = Callable[[OSError], object]


def never_fail(*, on_lost: OnLost = lambda error: None) -> None:
    """Replace standard output and error of this process by streams whose writes never raise.

    A stream that already replaces the real one (in a test, a notebook) stays as it is.

    Args:
        on_lost: called when standard output, which may be the product, cannot be written for the first time. An error
            that it raises ends the write.
    """
    _open_closed_ones()
    sys.stdout = _replaced(sys.stdout, sys.__stdout__, 1, on_lost)
    sys.stderr = _replaced(sys.stderr, sys.__stderr__, 2, lambda error: None)


class _Unfailing(io.FileIO):
    """A descriptor that accepts every byte, even if it cannot write it."""

    def __init__(self, descriptor: int, on_lost: OnLost) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self._on_lost: OnLost | None = on_lost

    def write(self, data: ReadableBuffer, /) -> int:
        """Write what can be written; the rest is lost."""
        try:
            while (written := super().write(data)) is None:  # not blocking, and full: another program left it so
                select.select([], [self], [])
        except OSError as error:
            on_lost, self._on_lost = self._on_lost, None
            if on_lost is not None:
                on_lost(error)
            return memoryview(data).nbytes
        return written


def _open_closed_ones() -> None:
    """Open /dev/null for a closed standard stream (`2>&-`): the next file would get its number, and our output."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one


def _replaced(stream: TextIO | None, real: TextIO | None, descriptor: int, on_lost: OnLost) -> TextIO:
    if stream is not None and stream is not real:
        return stream
    if stream is not None:
        with contextlib.suppress(OSError):
            stream.flush()
    encoding = "utf-8" if stream is None else stream.encoding
    raw = io.BufferedWriter(_Unfailing(descriptor, on_lost))
    unfailing = io.TextIOWrapper(raw, encoding, errors="backslashreplace", line_buffering=True)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is stream:
            handler.setStream(unfailing)
    return unfailing
