"""The group of commands, and how it prints this package's errors."""

from __future__ import annotations

import errno
from typing import Any

import click

from meme57 import __version__
from meme57.cli.completion import completion
from meme57.cli.demote import demote
from meme57.cli.doctor import doctor
from meme57.cli.export import export
from meme57.cli.games import games
from meme57.cli.import_ import import_
from meme57.cli.init import init
from meme57.cli.models import models
from meme57.cli.play import play
from meme57.cli.plot import plot
from meme57.cli.promote import promote
from meme57.cli.relocate import relocate
from meme57.cli.runs import runs
from meme57.cli.status import status
from meme57.cli.ui import ui
from meme57.errors import Interrupted, Meme57Error, StorageError
from meme57.streams import never_fail
from meme57.tracking import settle_mlflow

EXIT_CODES = (
    "Exit status: 0 fine; 1 an error that one line explains; 2 the command was typed wrongly; 130 stopped by Ctrl-C."
)
INTERRUPTED = 130


class OneLineErrors(click.Group):
    """Prints an error of this package as one line, with exit status 1; Ctrl-C gives exit status 130."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        never_fail(on_lost=_refuse)
        settle_mlflow()
        try:
            return super().invoke(ctx)
        except Interrupted as stopped:
            click.echo(str(stopped), err=True)
            ctx.exit(INTERRUPTED)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except Meme57Error as error:
            raise click.ClickException(str(error)) from error


def _refuse(error: OSError) -> None:
    """Handle output that cannot be written: a full disk is an error, and a reader that leaves ends the command."""
    if error.errno == errno.EPIPE:
        raise error  # click ends without a word
    raise StorageError(f"standard output cannot be written ({error.strerror}): make room, or print elsewhere")


@click.group(
    cls=OneLineErrors,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EXIT_CODES,
)
@click.version_option(__version__, prog_name="meme57")
def main() -> None:
    """MEME on Atari games. Train with `kedro run`; these commands show, compare and export runs."""


for _command in (
    completion,
    demote,
    doctor,
    export,
    games,
    import_,
    init,
    models,
    play,
    plot,
    promote,
    relocate,
    runs,
    status,
    ui,
):
    main.add_command(_command)

cli = click.Group("meme57")
"""An empty group: Kedro looks for this name in a project's module `cli`, to add its commands to Kedro's own."""
