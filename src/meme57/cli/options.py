"""What commands share: options, the project's folder, and shell completion of run names."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from meme57.api.project import project_folder as project_folder
from meme57.errors import Interrupted, Meme57Error

Command = TypeVar("Command", bound=Callable[..., Any])


class RunName(click.ParamType[str]):
    """The name of a run; the shell completes it."""

    name = "run"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """List the runs of this project that begin with `incomplete`."""
        from meme57.tracking.overview import run_names

        try:
            names = run_names(project_folder())
        except Meme57Error:
            return []
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def json_option(command: Command) -> Command:
    """Add the option `--json`, for other programs."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for other programs.")(command)


def torso_option(command: Command) -> Command:
    """Add the option `--torso`: a file alone cannot make code run."""
    return click.option("--torso", metavar="CLASS", help="Your torso's class path, where the policy has one.")(command)


def code_option(command: Command) -> Command:
    """Add the option `--code`: likewise for a policy's environment."""
    what = "Your environment's id or wrapper, where the policy has one; may be repeated."
    return click.option("--code", multiple=True, metavar="NAME", help=what)(command)


def yes_option(command: Command) -> Command:
    """Add the option `--yes`, which skips the question."""
    return click.option("--yes", is_flag=True, help="Do not ask.")(command)


def run_option(**settings: Any) -> Callable[[Command], Command]:
    """Add the option `--run NAME`."""
    return click.option("--run", "run", type=RunName(), metavar="NAME", **settings)


def ask(question: str, *, yes: bool) -> None:
    """Ask before going on; without a terminal, stop and say to give --yes."""
    if yes:
        return
    try:
        agreed = click.confirm(question)
    except click.Abort:  # of Ctrl-C, or of an end of the input
        if sys.stdin.isatty():
            raise Interrupted("nothing was changed") from None
        raise Meme57Error("nobody to ask: give --yes, nothing was changed") from None
    if not agreed:
        raise Meme57Error("nothing was changed")


def print_json(value: Any) -> None:
    """Print dataclasses and plain values as JSON."""
    click.echo(json.dumps(value, indent=1, default=dataclasses.asdict))
