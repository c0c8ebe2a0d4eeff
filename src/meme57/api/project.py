"""The project around the working directory."""

from __future__ import annotations

import tomllib
from pathlib import Path

from meme57.errors import Meme57Error

ENOUGH_TO_KNOW_A_PROJECT = "pyproject.toml"


def project_folder() -> Path:
    """Find the project that contains the working directory.

    Raises:
        Meme57Error: there is none.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if _is_project(folder / ENOUGH_TO_KNOW_A_PROJECT):
            return folder
    raise Meme57Error("this folder is in no meme57 project: `cd` to one, or make one with `meme57 init DIR`")


def _is_project(path: Path) -> bool:
    try:
        return "kedro" in tomllib.loads(path.read_text()).get("tool", {})
    except (OSError, ValueError):
        return False
