"""meme57 runs: list, show, compare, delete."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from meme57.cli.options import RunName, ask, json_option, print_json, project_folder, yes_option
from meme57.cli.run_list import list_runs
from meme57.errors import Meme57Error

if TYPE_CHECKING:
    from meme57.tracking.overview import AgentScore, RunOverview

CURVE_WIDTH = 60
CONFIDENCE = 0.95
BLOCKS = "▁▂▃▄▅▆▇█"


@click.group()
def runs() -> None:
    """List, show, compare and delete runs."""


runs.add_command(list_runs)


@runs.command()
@click.argument("name", type=RunName(), metavar="RUN")
@click.option("--open", "open_it", is_flag=True, help="Open it in a browser.")
def show(name: str, open_it: bool) -> None:
    """Show the page of a run: while it learns, after a stop, or with its scores.

    Prints the file's path. The page of a run that learns is written again at each checkpoint.
    """
    from meme57.report.run_page import show_run

    path = show_run(project_folder(), name)
    click.echo(str(path))
    if open_it and click.launch(str(path)):
        raise Meme57Error(f"no browser can be opened here: open {path} yourself")


@runs.command()
@click.argument("first", type=RunName(), metavar="RUN")
@click.argument("second", type=RunName(), metavar="RUN")
@json_option
def compare(first: str, second: str, as_json: bool) -> None:
    """Compare two runs: parameters that differ, scores with intervals, learning curves."""
    from meme57.config.differences import differences
    from meme57.tracking.overview import configuration, known_run, overview

    project = project_folder()
    names = [known_run(project, name) for name in (first, second)]
    a, b = (overview(project, name) for name in names)
    differing = differences(*(configuration(project, name) for name in names))
    if as_json:
        print_json({"runs": [a, b], "differences": differing})
        return
    _echo_parameters(names, differing)
    _echo_scores(a, b)
    for name in names:
        _echo_curve(project, name)


@runs.command()
@click.argument("name", type=RunName(), metavar="RUN")
@yes_option
def delete(name: str, yes: bool) -> None:
    """Delete a run: its folders under data/, and its runs in MLflow (marked deleted, not purged).

    Registered model versions stay. If a process works on the run, nothing is deleted.
    """
    from meme57.tracking.overview import known_run, overview
    from meme57.tracking.run_record import refuse_live_run, remove_run

    project = project_folder()
    known_run(project, name)
    refuse_live_run(project, name)
    size = overview(project, name, measure_size=True).size_bytes
    ask(f"Delete run {name} ({size / 1e6:,.1f} MB under data/)?", yes=yes)
    parent = _parent(project, name)
    removed = remove_run(project, name)
    tracked = _delete_tracked(project, name, parent)  # before anything is printed: that may fail
    for folder in removed:
        click.echo(f"removed {folder.relative_to(project)}")
    click.echo(tracked)


def _parent(project: Path, name: str) -> str | None:
    """Read the id of the run's parent in MLflow, if its record can be read."""
    from meme57.tracking.run_record import read_record

    try:
        record = read_record(project, name)
    except Meme57Error:
        return None
    return None if record is None else record["mlflow_run_id"]


def _delete_tracked(project: Path, name: str, parent: str | None) -> str:
    from meme57.addresses import sqlite_path
    from meme57.api.store import existing_store
    from meme57.tracking.deletion import delete_runs

    try:
        store = existing_store(project)
        is_shared = sqlite_path(store.uri) is None  # then others may have a run of that name there
        if is_shared and not parent:
            return f"MLflow: nothing marked (which runs of {store.uri} are this project's is not known any more)"
        count = delete_runs(store.client(), name, parent=parent if is_shared else None)
    except Meme57Error as error:  # the folders are deleted even if the store fails
        return f"MLflow: nothing marked ({error})"
    return f"MLflow: {count} runs marked deleted"


def _echo_parameters(names: list[str], differing: dict[str, tuple[Any, Any]]) -> None:
    if not differing:
        click.echo("Parameters: the same.")
        return
    width = max(len(key) for key in differing)
    click.echo(f"{'Parameters that differ':<{max(width, 22)}}  {names[0]:>20}  {names[1]:>20}")
    for key, (one, other) in differing.items():
        click.echo(f"{key:<{max(width, 22)}}  {one!s:>20}  {other!s:>20}")


def _echo_scores(a: RunOverview, b: RunOverview) -> None:
    click.echo()
    for agent in ("teacher", "student"):
        click.echo(f"{agent}: {a.name} {_score(a, agent)}, {b.name} {_score(b, agent)}{_verdict(a, b, agent)}")


def _verdict(a: RunOverview, b: RunOverview, agent: str) -> str:
    if agent not in a.scores or agent not in b.scores:
        return ""
    if (a.game, a.protocol) != (b.game, b.protocol):
        return ": another game or protocol, not comparable"
    one, other = a.scores[agent], b.scores[agent]
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return ": one episode has no interval, so that nothing is shown"
    apart = one.low > other.high or other.low > one.high
    return f": the intervals {'do not touch' if apart else 'overlap'}; {_difference(one, other)}"


def _difference(one: AgentScore, other: AgentScore) -> str:
    """Describe the second score minus the first, with Welch's interval."""
    from meme57.intervals import difference, from_summary

    gap = difference(*(from_summary(score.mean, score.std, score.episodes) for score in (other, one)))
    value, reach = float(gap.value), float(gap.reach(CONFIDENCE))
    return f"difference {value:+,.1f} [{value - reach:,.1f}, {value + reach:,.1f}]"


def _score(run: RunOverview, agent: str) -> str:
    score = run.scores.get(agent)
    if score is None:
        return "-"
    interval = "" if score.low is None else f" [{score.low:,.1f}, {score.high:,.1f}]"
    return f"{score.mean:,.1f}{interval}, n {score.episodes}"


def _echo_curve(project: Path, name: str) -> None:
    from meme57.tracking.overview import read_curve

    returns = [row["episodes/return"] for row in read_curve(project, name) if "episodes/return" in row]
    if returns:
        line = sparkline(returns, CURVE_WIDTH)
        click.echo(f"\n{name}, training return {min(returns):,.1f} to {max(returns):,.1f}\n{line}")


def sparkline(values: list[float], width: int) -> str:
    """Draw the values as at most `width` bars; each bar is the mean of its share."""
    width = min(width, len(values))
    edges = [round(i * len(values) / width) for i in range(width + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, span = min(means), max(means) - min(means)
    return "".join(BLOCKS[min(7, int(8 * (mean - low) / span))] if span else BLOCKS[0] for mean in means)
