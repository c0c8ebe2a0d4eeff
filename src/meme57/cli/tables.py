"""Tables on the terminal: runs, and below them studies and suites."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from meme57.tracking.group_overview import GroupOverview

NOT_ON_A_TERMINAL = 200
"""Width of a table in a file or a pipe, where folded cells would spoil lines."""
NO_RUN = "No run is set up here yet: `kedro run` makes one."


def new_table(*columns: str, left: Sequence[str]) -> Table:
    """Make an empty table; columns that are not named in `left` hold numbers."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in columns:
        table.add_column(name, justify="left" if name in left else "right", overflow="fold")
    return table


def print_table(table: Table) -> None:
    """Print it as wide as the terminal."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else NOT_ON_A_TERMINAL).print(table)


def groups(project: Path) -> list[GroupOverview]:
    """Describe the studies and suites of the project."""
    from meme57.tracking.group_overview import suites
    from meme57.tuning.overview import studies

    return [*suites(project), *studies(project)]


def group_row(found: GroupOverview) -> dict[str, Any]:
    """Describe a study or a suite for JSON."""
    return {**vars(found), "page": None if found.page is None else str(found.page)}


def groups_table(found: Sequence[GroupOverview]) -> Table:
    """Build the table of studies and suites; a dash stands for an unknown value."""
    table = new_table(
        "study or suite", "state", "trials or members", "score", "changed",
        left=("study or suite", "state", "trials or members", "changed"),
    )  # fmt: skip
    for group in found:
        counts = ", ".join(f"{count} {state}" for state, count in group.counts.items())
        table.add_row(group.name, group.state, counts or "-", _score(group), day(group.changed))
    return table


def _score(group: GroupOverview) -> str:
    if group.score is None:
        return "-"
    return f"{percent(group.score)}, median" if group.kind == "suite" else f"{group.score:,.4g}, best"


def number(value: float | None, digits: int = 1) -> str:
    """Format a number, or a dash."""
    return "-" if value is None else f"{value:,.{digits}f}"


def percent(fraction: float | None) -> str:
    """Format a fraction as a percentage, or a dash."""
    return "-" if fraction is None else f"{100 * fraction:,.1f} %"


def day(moment: str | None) -> str:
    """Shorten a time in ISO 8601 to its day, or a dash."""
    return "-" if moment is None else moment[:10]
