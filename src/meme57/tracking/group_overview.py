"""What is known about each suite from its files; a study is described in the same words (`meme57.tuning.overview`)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from meme57.config.fields import SUITE
from meme57.errors import CheckpointError, Meme57Error, StorageError
from meme57.files import read_json
from meme57.lock import Holder, holder
from meme57.tracking.overview import LAYERS, run_names


@dataclass(frozen=True)
class GroupOverview:
    """The state of a study or a suite on disk."""

    name: str
    """As its folders are called: `tune-<study>` or `suite-<suite>`."""
    kind: Literal["study", "suite"]
    state: str
    """working (a process is at it), stopped, done, or damaged."""
    counts: dict[str, int] = field(default_factory=dict)
    """Trials or members, by their state."""
    score: float | None = None
    """A study's best score, or the median of a suite's human-normalised scores."""
    changed: str | None = None
    """When a result was last written, in ISO 8601."""
    holder: Holder | None = None
    page: Path | None = None
    note: str | None = None


def suites(project: Path) -> list[GroupOverview]:
    """Describe every suite of the project, by name."""
    folders = (project / "data" / LAYERS["output"]).glob(f"{SUITE}*")
    return [_suite(project, folder) for folder in sorted(folders) if folder.is_dir()]


def suite_runs(project: Path, name: str) -> list[str]:
    """List the runs of the members that `suite-<name>` has begun, and that are still here.

    Raises:
        Meme57Error: there is no such suite, or it has no run.
    """
    known = [found.name for found in suites(project)]
    if name not in known:
        raise Meme57Error(f"there is no suite {name!r}: there {'are ' + ', '.join(known) if known else 'is none'}")
    here = set(run_names(project))
    members = [str(note.get("name")) for note in _notes(project / "data" / LAYERS["output"] / name)]
    if not (runs := [member for member in members if member in here]):
        raise Meme57Error(f"{name} has no run yet: `meme57 status` shows how far it is")
    return runs


def page_of(project: Path, name: str) -> Path | None:
    """Return the page of a study or a suite; None before it is written."""
    path = project / "data" / LAYERS["reporting"] / name / "report.html"
    return path if path.is_file() else None


def last_change(*paths: Path) -> str | None:
    """Return when the newest of these files changed, in ISO 8601; None if there is none."""
    times = [path.stat().st_mtime for path in paths if path.is_file()]
    return datetime.fromtimestamp(max(times), UTC).isoformat(timespec="seconds") if times else None


def _suite(project: Path, folder: Path) -> GroupOverview:
    notes, at_work = _notes(folder), holder(folder)
    counts = Counter(str(note.get("state")) for note in notes)
    if at_work is None and "running" in counts:  # its process ended without a word
        counts["stopped"] += counts.pop("running")
    page = page_of(project, folder.name)
    is_done = page is not None and not counts["stopped"]
    return GroupOverview(
        folder.name,
        "suite",
        "working" if at_work else "done" if is_done else "stopped",
        {state: count for state, count in sorted(counts.items()) if count},
        score=_median(project / "data" / LAYERS["reporting"] / folder.name / "scores.json"),
        changed=last_change(*folder.glob("*.json")),
        holder=at_work,
        page=page,
    )


def _notes(folder: Path) -> list[dict[str, Any]]:
    notes = []
    for path in sorted(folder.glob("*.json")):
        try:
            note = read_json(path)
        except (CheckpointError, StorageError):
            continue  # that member runs again
        if isinstance(note, dict):
            notes.append(note)
    return notes


def _median(scores: Path) -> float | None:
    """Read the median of the first variant's human-normalised scores; None without one."""
    try:
        first = next(iter(read_json(scores)["aggregates"].values()))
        return float(first["teacher"]["statistics"]["median"]["value"])
    except (CheckpointError, StorageError, LookupError, TypeError, ValueError, AttributeError, StopIteration):
        return None
