"""Tables of ended runs: one CSV file, a line a run, and the commit that made it."""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CODE = ("src", "conf", "experiments/*/*.yml", "experiments/*/*.py", "benchmarks")


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the runs that have ended."""
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines())) if path.exists() else []


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Append a line; a file that is new begins with the columns' names.

    Raises:
        ValueError: the file has other columns.
    """
    is_new = not path.exists()
    if not is_new and (found := path.read_text(encoding="utf-8").partition("\n")[0].split(",")) != list(row):
        raise ValueError(f"{path} has the columns {found}, not {list(row)}")
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row), lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow(row)


def commit() -> str:
    """Return the checked-out commit, with a plus if its code or configuration was changed."""
    hash_ = _git("rev-parse", "--short", "HEAD")
    return hash_ + "+" * bool(_git("status", "--porcelain", "--", *CODE))


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True).stdout.strip()
