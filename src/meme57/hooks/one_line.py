"""Show this package's errors as one line and an exit status, without a traceback."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import IO, Any

import click

from meme57.errors import Interrupted, Meme57Error

FAILED = 1
INTERRUPTED = 130


class OneLineError(click.ClickException):
    """An error with the original one as its `__cause__`; exits with 130 for an interruption, else with 1."""

    def __init__(self, error: Meme57Error) -> None:
        super().__init__(str(error))
        self.interrupted = isinstance(error, Interrupted)
        self.exit_code = INTERRUPTED if self.interrupted else FAILED  # type: ignore[misc]

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the line to standard error; an interruption is not called an error."""
        click.echo(self.message if self.interrupted else f"Error: {self.message}", file=file, err=file is None)


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn an error of this package that leaves the block into a `OneLineError`."""
    try:
        yield
    except Meme57Error as error:
        raise OneLineError(error) from error
