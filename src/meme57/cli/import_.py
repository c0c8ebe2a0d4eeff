"""meme57 import: a capsule's run becomes a run of this project."""

from __future__ import annotations

from pathlib import Path

import click

from meme57.cli.options import json_option, print_json, project_folder
from meme57.errors import Meme57Error


@click.command("import")
@click.argument("capsule", type=click.Path(path_type=Path, dir_okay=False), metavar="RUN.zip")
@json_option
def import_(capsule: Path, as_json: bool) -> None:
    """Add the run of a capsule to this project.

    `meme57 export RUN --capsule RUN.zip` writes one. Every checksum is checked, and no path in it is used. The run
    plays and compares; it does not resume, since its replay is not in the capsule.
    """
    from meme57.capsules.contents import environment_name
    from meme57.capsules.read import import_capsule

    if not capsule.is_file():
        raise Meme57Error(f"no file {capsule}: `meme57 export RUN --capsule {capsule.name}` writes one")
    manifest = import_capsule(capsule, project_folder())
    if as_json:
        print_json(manifest.model_dump(mode="json"))
        return
    click.echo(f"run {manifest.run}, {manifest.game}, from commit {manifest.commit}")
    click.echo(f"play it        meme57 play {manifest.run}")
    click.echo(f"reproduce it   {manifest.command}")
    click.echo(f"its parameters are the environment conf/{environment_name(manifest.run)}")
