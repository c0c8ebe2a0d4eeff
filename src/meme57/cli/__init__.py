"""The `meme57` command: it shows, compares, promotes and exports runs. Training is `kedro run`.

A command imports heavy packages only when it needs them.
"""

from meme57.cli.command import cli, main

__all__ = ["cli", "main"]
