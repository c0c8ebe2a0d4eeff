"""meme57 init: a project folder for an installed meme57, without a checkout."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import click

from meme57.errors import Meme57Error

TEMPLATE = Path(__file__).parents[1] / "project_template"
"""What a project begins with. In a checkout it is made of links, so that there is one copy of `conf/`."""
DOT = "dot_"
"""Stands for the dot of a hidden file's name, which git and build tools would take as their own."""
LAST = "pyproject.toml"
"""What makes a folder a project; it is written when all else is there."""


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
def init(folder: Path) -> None:
    """Lay out a project in DIR: conf/, experiments/, data/, mlruns/.

    For meme57 that was installed with pip; a checkout is a project already. It overwrites nothing. If it is killed,
    type it again.
    """
    lay_project(folder)
    click.echo(f"{folder} is a meme57 project: its README.md says what is where")
    click.echo(f"next: cd {folder} && kedro run --env test")


def lay_project(folder: Path) -> list[Path]:
    """Write the files of a new project into `folder`, each completely or not at all; the last one makes it a project.

    Returns:
        The files that were written; those that were there with the same content are left as they are.

    Raises:
        Meme57Error: something else has the name of such a file. Nothing was written.
        StorageError: the folder cannot be written to.
    """
    from meme57.files import storage_errors, write_bytes

    folder = folder.expanduser()
    with storage_errors(folder):
        files = dict(sorted(project_files(), key=lambda file: file[0] == LAST))
        missing = [folder / name for name, content in files.items() if not _is_there(folder / name, content)]
    for path in missing:
        write_bytes(path, files[str(path.relative_to(folder))])
    return missing


def project_files() -> Iterator[tuple[str, bytes]]:
    """Yield every file of a new project: its path, and its content."""
    for parent, _, names in sorted(os.walk(TEMPLATE, followlinks=True)):
        for name in sorted(names):
            path = Path(parent, name)
            parts = path.relative_to(TEMPLATE).parts
            yield (
                str(Path(*("." + part.removeprefix(DOT) if part.startswith(DOT) else part for part in parts))),
                (path.read_bytes()),
            )


def _is_there(path: Path, content: bytes) -> bool:
    """Say whether `path` has this content already.

    Raises:
        Meme57Error: it is something else, or a file stands where one of its folders belongs.
    """
    if path.is_file() and path.read_bytes() == content:
        return True
    blocking = next((place for place in (path, *path.parents) if os.path.lexists(place)), path)
    if blocking == path or not blocking.is_dir():
        raise Meme57Error(
            f"{blocking} is there already: give a folder without it, or move it away; nothing was written"
        )
    return False
