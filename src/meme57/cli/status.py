"""meme57 status: which runs exist, which are at work, and how far they are."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from meme57.cli.options import json_option, print_json, project_folder, run_option

if TYPE_CHECKING:
    from rich.table import Table

    from meme57.tracking.overview import RunOverview

SECONDS_BETWEEN = 2.0


@click.command()
@run_option(help="This run alone.")
@click.option("--watch", is_flag=True, help="Show it again every two seconds, until Ctrl-C.")
@json_option
def status(run: str | None, watch: bool, as_json: bool) -> None:
    """Show the runs that are at work, and the others.

    For each run: its process, frames, speed, score and time left. They are read from the run's own files (locks,
    manifests, learning curves), so the command works while DVC or Kedro is busy.
    """
    project = project_folder()
    if watch and as_json:
        raise click.UsageError("--watch is for people, --json for programs: give one of them.")
    if as_json:
        print_json([{**vars(found), "remaining_seconds": found.remaining_seconds} for found in _look(project, run)])
    elif watch:
        _watch(project, run)
    else:
        _show(_look(project, run))


def _look(project: Path, run: str | None) -> list[RunOverview]:
    from meme57.tracking.overview import known_run, overview, run_names

    names = run_names(project) if run is None else [known_run(project, run)]
    return [overview(project, name) for name in names]


def _show(found: Sequence[RunOverview]) -> None:
    from rich.console import Console

    if not found:
        click.echo("No run is set up here yet: `kedro run` makes one.")
        return
    console = Console()
    console.print(status_table(found))
    for run in found:
        if run.holder is not None:
            words = f"{run.name}: process {run.holder.pid} on {run.holder.host} since {run.holder.since}"
            console.print(f"{words} ({run.holder.command})", soft_wrap=True, highlight=False, markup=False)
        if run.note:
            console.print(f"{run.name}: {run.note}", soft_wrap=True, highlight=False, markup=False)


def _watch(project: Path, run: str | None) -> None:
    from rich.live import Live

    with Live(status_table(_look(project, run)), auto_refresh=False) as live:
        try:
            while True:
                time.sleep(SECONDS_BETWEEN)
                live.update(status_table(_look(project, run)), refresh=True)
        except KeyboardInterrupt:
            return


def status_table(found: Sequence[RunOverview]) -> Table:
    """Build the table, one row per run; a dash stands for an unknown value."""
    from rich.table import Table

    table = Table()
    for name in ("run", "state", "frames", "frames/s", "return", "teacher", "time left"):
        table.add_column(name, justify="left" if name in ("run", "state") else "right", overflow="fold")
    for run in found:
        teacher = run.scores.get("teacher")
        table.add_row(
            run.name,
            run.state,
            f"{run.frames:,}" + (f" of {run.total_frames:,}" if run.total_frames else ""),
            _number(run.frames_per_second if run.holder else None, 0),
            _number(run.training_return, 1),
            f"{teacher.mean:,.1f}" if teacher else "-",
            _time(run.remaining_seconds),
        )
    return table


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
