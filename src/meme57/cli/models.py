"""meme57 models: what the registry holds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from meme57.cli.options import json_option, print_json, project_folder
from meme57.cli.tables import new_table, print_table

if TYPE_CHECKING:
    from rich.table import Table

    from meme57.tracking.models import RegisteredVersion


@click.command()
@click.argument("name", required=False, metavar="[MODEL]")
@json_option
def models(name: str | None, as_json: bool) -> None:
    """List the registered models: aliases, scores with intervals, protocol, run, age.

    MODEL, such as meme57-pong or meme57-pong-student, lists all of its versions, and why each is champion or is not.
    """
    from meme57.api.store import existing_store
    from meme57.tracking.models import registered_versions

    found = registered_versions(existing_store(project_folder()).client(), name)
    if as_json:
        print_json(found)
        return
    if not found:
        click.echo("No model is registered here yet: `kedro run` registers a teacher and a student.")
        return
    print_table(versions_table(found, datetime.now(UTC)))
    for version in found if name is not None else []:
        if version.decision:
            click.echo(f"version {version.version}: {version.decision}")
    click.echo(f"Play one:  meme57 play models:/{found[0].model}/{found[0].version}")


def versions_table(found: list[RegisteredVersion], now: datetime) -> Table:
    """Build the table, one row per version; a dash stands for an unknown value."""
    table = new_table(
        "model", "version", "aliases", "score", "protocol", "run", "frames", "age",
        left=("model", "aliases", "protocol", "run"),
    )  # fmt: skip
    for version in found:
        table.add_row(
            version.model,
            version.version,
            ", ".join(version.aliases) or "-",
            str(version.score),
            version.protocol or "-",
            version.run or "-",
            "-" if version.frames is None else f"{version.frames:,}",
            version.age(now),
        )
    return table
