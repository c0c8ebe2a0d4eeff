"""meme57 plot: learning curves of several runs in one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from meme57.cli.options import RunName, project_folder
from meme57.errors import Meme57Error

if TYPE_CHECKING:
    from meme57.report.compared import TrainedRun

NO_AGENT = "none"


class PublishedAgent(click.ParamType[str]):
    """The name of an agent with published scores, or `none`."""

    name = "agent"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuse an unknown name."""
        from meme57.evaluation.published import published_agents

        known = (*published_agents(), NO_AGENT)
        if value not in known:
            self.fail(f"{value!r} is not one of {', '.join(known)}.", param, ctx)
        return value


@click.command()
@click.argument("runs", type=RunName(), metavar="RUN...", nargs=-1, required=True)
@click.option("--by", type=click.Choice(["run", "seed"]), default="run", show_default=True, help="What one line is.")
@click.option(
    "--published",
    type=PublishedAgent(),
    multiple=True,
    default=["muesli_200M"],
    show_default=True,
    metavar="AGENT",
    help="Draw this agent's published score too; several times for several, `none` for none.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("plot.html"),
    show_default=True,
    metavar="FILE.html",
    help="Where to write the page.",
)
def plot(runs: tuple[str, ...], by: str, published: tuple[str, ...], out: Path) -> None:
    """Draw the learning curves of runs into one page.

    Lines show the published scores of random play, of a human and of other agents.

    With `--by seed`, runs that differ in their seed alone are one line: the mean over seeds, in a band. The band is
    Student's 95 % interval of that mean. A suite, such as suite-smoke, stands for its runs.
    """
    from meme57.files import write_bytes
    from meme57.report.compared import compared_page

    if out.suffix != ".html":
        raise click.BadParameter(f"{out.name!r} does not end in .html.", param_hint="--out")
    project = project_folder()
    names = dict.fromkeys(name for asked in runs for name in _names(project, asked))
    agents = [agent for agent in published if agent != NO_AGENT]
    found = [_trained_run(project, name) for name in names]
    page, lines = compared_page(found, by_seed=by == "seed", published=agents)
    write_bytes(out, page.encode())
    for line in lines:
        click.echo(line)
    click.echo(f"Open it:  {out.resolve()}")


def _names(project: Path, asked: str) -> list[str]:
    from meme57.config.fields import STUDY, SUITE
    from meme57.tracking.group_overview import suite_runs

    if asked.startswith(STUDY):
        raise Meme57Error(
            f"{asked} is a study, whose trials are no runs: its page is data/08_reporting/{asked}/report.html"
        )
    return suite_runs(project, asked) if asked.startswith(SUITE) else [asked]


def _trained_run(project: Path, name: str) -> TrainedRun:
    from meme57.report.compared import RETURN, TrainedRun
    from meme57.tracking.overview import configuration, known_run, overview, read_curve

    found = overview(project, known_run(project, name))
    rows = read_curve(project, name)
    if found.game is None or found.seed is None:
        raise Meme57Error(f"{name} is damaged ({found.note}): leave it out")
    if not any(RETURN in row for row in rows):
        raise Meme57Error(f"{name} has no learning curve yet, since no episode has ended: leave it out")
    settings = configuration(project, name)
    return TrainedRun(name, found.game, found.seed, settings, rows, found.max_episode_frames)
