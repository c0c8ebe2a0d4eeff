"""The `meme57` command. Training is `kedro run`; this looks at runs, shows, compares, promotes and ships them.

Nothing heavy is imported before a command needs it.
"""

from meme57.cli.command import cli, main

__all__ = ["cli", "main"]
