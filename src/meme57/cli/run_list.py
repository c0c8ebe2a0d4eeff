"""meme57 runs list: every run, sorted and filtered; studies and suites below."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from meme57.cli.options import json_option, print_json, project_folder
from meme57.cli.tables import NO_RUN, day, group_row, groups, groups_table, new_table, number, percent, print_table
from meme57.errors import ConfigurationError, Meme57Error

if TYPE_CHECKING:
    from rich.table import Table

    from meme57.tracking.overview import AgentScore, RunOverview

STATES = ("collecting", "learning", "set up", "stopped", "learned", "evaluated", "damaged")
KEYS: dict[str, Callable[[RunOverview], Any]] = {
    "name": lambda run: run.name,
    "state": lambda run: run.state,
    "game": lambda run: run.game,
    "seed": lambda run: run.seed,
    "preset": lambda run: run.preset,
    "date": lambda run: run.created,
    "frames": lambda run: run.frames,
    "teacher": lambda run: _mean(run, "teacher"),
    "student": lambda run: _mean(run, "student"),
    "human": lambda run: _human(run, "teacher"),
    "size": lambda run: run.size_bytes,
}
"""What `--sort` accepts, and the value that it compares."""
LARGEST_FIRST = ("date", "frames", "teacher", "student", "human", "size")


@click.command("list")
@click.option(
    "--sort",
    type=click.Choice(list(KEYS)),
    default="name",
    show_default=True,
    help="Sort by this: names and seeds upwards, dates and numbers downwards, unknown values last.",
)
@click.option("--reverse", is_flag=True, help="The other way round.")
@click.option("--game", metavar="GAME", help="Runs of this game alone, in any spelling.")
@click.option("--seed", type=int, metavar="N", help="Runs of this seed alone.")
@click.option("--preset", metavar="NAME", help="Runs of this preset alone (`--env` of `kedro run`).")
@click.option("--state", type=click.Choice(STATES), help="Runs in this state alone.")
@click.option("--suite", metavar="NAME", help="Runs of this suite alone, such as suite-smoke.")
@json_option
def list_runs(sort: str, reverse: bool, suite: str | None, as_json: bool, **only: Any) -> None:
    """List the runs of this project with their scores and their size on disk.

    `human` is the teacher's score in per cent: 0 is random play, 100 a human. Studies and suites follow the runs.
    """
    from meme57.tracking.group_overview import suite_runs
    from meme57.tracking.overview import overview, run_names

    project = project_folder()
    names = run_names(project) if suite is None else suite_runs(project, suite)
    everything = [overview(project, name, measure_size=True) for name in names]
    found = sort_runs(_only(everything, only) if everything else [], sort, reverse=reverse)
    is_filtered = suite is not None or any(value is not None for value in only.values())
    others = [] if is_filtered else groups(project)
    if as_json:
        print_json([*({"kind": "run", **vars(run)} for run in found), *map(group_row, others)])
    elif not everything and not others:
        click.echo(NO_RUN)
    elif not found and is_filtered:
        click.echo("No run fits: `meme57 runs list` shows all of them.")
    else:
        print_table(runs_table(found))
        if others:
            print_table(groups_table(others))


def sort_runs(runs: Sequence[RunOverview], by: str, *, reverse: bool = False) -> list[RunOverview]:
    """Sort by a name in `KEYS`; runs without the value come last in either direction, and equal ones by name."""
    key = KEYS[by]
    known = sorted((run for run in runs if key(run) is not None), key=lambda run: run.name)
    known.sort(key=key, reverse=(by in LARGEST_FIRST) != reverse)
    return [*known, *(run for run in runs if key(run) is None)]


def runs_table(runs: Sequence[RunOverview]) -> Table:
    """Build the table, one row per run; a dash stands for an unknown value."""
    left = ("run", "state", "game", "preset", "date")
    table = new_table(
        "run", "state", "game", "seed", "preset", "date", "frames", "teacher", "student", "human", "size", left=left
    )
    for run in runs:
        table.add_row(
            run.name,
            run.state,
            run.game or "-",
            "-" if run.seed is None else str(run.seed),
            run.preset or "-",
            day(run.created),
            f"{run.frames:,}",
            number(_mean(run, "teacher")),
            number(_mean(run, "student")),
            percent(_human(run, "teacher")),
            f"{run.size_bytes / 1e6:,.1f} MB",
        )
    return table


def _only(runs: Sequence[RunOverview], only: dict[str, Any]) -> list[RunOverview]:
    """Keep the runs that have every value that was asked for.

    Raises:
        Meme57Error: no run is of that game or preset; the message lists what there is.
    """
    asked = {name: value for name, value in only.items() if value is not None}
    if "game" in asked:
        asked["game"] = _spelled(asked["game"])
    for name in ("game", "preset"):
        there = sorted({str(getattr(run, name)) for run in runs} - {"None"})
        if name in asked and asked[name] not in there:
            words = f"there is {', '.join(there)}" if there else "no run says its own"
            raise Meme57Error(f"no run is of {name} {asked[name]!r}: {words}")
    return [run for run in runs if all(getattr(run, name) == value for name, value in asked.items())]


def _spelled(game: str) -> str:
    """Return the game's canonical name; an environment of Gymnasium is called as it was written."""
    from meme57.config import canonical_game

    try:
        return canonical_game(game)
    except ConfigurationError:
        return game


def _mean(run: RunOverview, agent: str) -> float | None:
    score: AgentScore | None = run.scores.get(agent)
    return None if score is None else score.mean


def _human(run: RunOverview, agent: str) -> float | None:
    score: AgentScore | None = run.scores.get(agent)
    return None if score is None else score.human_normalised
