"""meme57 status: which runs exist, which are at work, and how far they are."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from meme57.cli.options import json_option, print_json, project_folder, run_option
from meme57.cli.tables import NO_RUN, group_row, groups, groups_table, new_table, number, print_table

if TYPE_CHECKING:
    from rich.table import Table

    from meme57.tracking.group_overview import GroupOverview
    from meme57.tracking.overview import RunOverview

    Seen = tuple[list[RunOverview], list[GroupOverview]]

SECONDS_BETWEEN = 2.0


@click.command()
@run_option(help="This run alone.")
@click.option("--watch", is_flag=True, help="Show it again every two seconds, until Ctrl-C.")
@json_option
def status(run: str | None, watch: bool, as_json: bool) -> None:
    """Show the runs that are at work, and the others.

    For each run: its process, frames, speed, return beside the published ones of random play and of a human, score and
    time left. Studies and suites follow. All is read from their own files (locks, manifests, learning curves), so the
    command works while DVC or Kedro is busy.
    """
    project = project_folder()
    if watch and as_json:
        raise click.UsageError("--watch is for people, --json for programs: give one of them.")
    if as_json:
        runs, others = _look(project, run)
        rows = ({"kind": "run", **vars(found), "remaining_seconds": found.remaining_seconds} for found in runs)
        print_json([*rows, *map(group_row, others)])
    elif watch:
        _watch(project, run)
    else:
        _show(_look(project, run))


def _look(project: Path, run: str | None) -> Seen:
    """Look at every run, study and suite, or at one run alone."""
    from meme57.tracking.overview import known_run, overview, run_names

    if run is not None:
        return [overview(project, known_run(project, run))], []
    return [overview(project, name) for name in run_names(project)], groups(project)


def _show(seen: Seen) -> None:
    from rich.console import Console

    if not any(seen):
        click.echo(NO_RUN)
        return
    for table in _tables(seen):
        print_table(table)
    console = Console()
    everything: Iterator[RunOverview | GroupOverview] = itertools.chain(*seen)
    for found in everything:
        if found.holder is not None:
            words = f"{found.name}: process {found.holder.pid} on {found.holder.host} since {found.holder.since}"
            console.print(f"{words} ({found.holder.command})", soft_wrap=True, highlight=False, markup=False)
        if found.note:
            console.print(f"{found.name}: {found.note}", soft_wrap=True, highlight=False, markup=False)


def _watch(project: Path, run: str | None) -> None:
    from rich.console import Group
    from rich.live import Live

    with Live(Group(*_tables(_look(project, run))), auto_refresh=False) as live:
        try:
            while True:
                time.sleep(SECONDS_BETWEEN)
                live.update(Group(*_tables(_look(project, run))), refresh=True)
        except KeyboardInterrupt:
            return


def _tables(seen: Seen) -> list[Table]:
    runs, others = seen
    return [*([status_table(runs)] if runs else []), *([groups_table(others)] if others else [])]


def status_table(found: Sequence[RunOverview]) -> Table:
    """Build the table, one row per run; a dash stands for an unknown value."""
    from meme57.evaluation.reference import reference_beside

    table = new_table(
        "run", "state", "frames", "frames/s", "return", "random", "human", "teacher", "time left",
        left=("run", "state"),
    )  # fmt: skip
    for run in found:
        teacher = run.scores.get("teacher")
        reference = reference_beside(run.game, run.max_episode_frames)
        table.add_row(
            run.name,
            run.state,
            f"{run.frames:,}" + (f" of {run.total_frames:,}" if run.total_frames else ""),
            number(run.frames_per_second if run.holder else None, 0),
            number(run.training_return),
            number(None if reference is None else reference.random),
            number(None if reference is None else reference.human),
            number(None if teacher is None else teacher.mean),
            _time(run.remaining_seconds),
        )
    return table


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
