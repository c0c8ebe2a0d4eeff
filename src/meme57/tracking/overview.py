"""What is known about each run from its files: run record, locks, checkpoints' manifests, learning curve.

It uses neither MLflow nor DVC, so it is fast, works while a stage runs, and needs no server.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meme57.config.renames import with_todays_agents
from meme57.errors import CheckpointError, RefusalError, RunConflictError, StorageError
from meme57.files import read_json, reading_errors, total_size
from meme57.lock import Holder, holder
from meme57.tracking.run_record import RunRecord, read_record, record_path

LAYERS = {
    "intermediate": "02_intermediate",
    "primary": "03_primary",
    "models": "06_models",
    "output": "07_model_output",
    "reporting": "08_reporting",
}
Row = dict[str, float]


@dataclass(frozen=True)
class AgentScore:
    """What `evaluate` found for one agent."""

    mean: float
    std: float
    low: float | None
    high: float | None
    """Upper end of the mean's interval, and `low` the lower end; None for one episode, which has no interval."""
    episodes: int
    human_normalised: float | None = None
    """0 is random play, 1 the human; None without published scores, or if games were cut before their end."""


@dataclass(frozen=True)
class RunOverview:
    """The state of one run on disk."""

    name: str
    state: str
    """collecting or learning (a process holds the folder), set up, stopped, learned, evaluated, or damaged."""
    game: str | None = None
    seed: int | None = None
    preset: str | None = None
    """The environment of `conf/` that set the run up; None in old records."""
    created: str | None = None
    """When it was set up first, in ISO 8601."""
    max_episode_frames: int | None = None
    """Length at which training cuts an episode; None in old records."""
    frames: int = 0
    total_frames: int | None = None
    """Length of the run at its last `setup`; None in old records, which do not have it."""
    frames_per_second: float | None = None
    training_return: float | None = None
    """The latest mean return over all policies and exploration rates."""
    holder: Holder | None = None
    protocol: str | None = None
    scores: dict[str, AgentScore] = field(default_factory=dict)
    size_bytes: int = 0
    note: str | None = None

    @property
    def remaining_seconds(self) -> float | None:
        """Time to the end at the latest speed; None if the run is not learning or its speed is unknown."""
        if self.state != "learning" or not self.frames_per_second or self.total_frames is None:
            return None
        return max(0, self.total_frames - self.frames) / self.frames_per_second


def run_folder(project: Path, layer: str, name: str) -> Path:
    """Return the run's folder in a layer: `data/06_models/<name>` for `models`."""
    return project / "data" / LAYERS[layer] / name


def run_names(project: Path) -> list[str]:
    """List the runs that were set up here."""
    return sorted(path.parent.name for path in (project / "data" / LAYERS["intermediate"]).glob("*/run_record.json"))


def newest_run(project: Path) -> str | None:
    """Return the run that was set up last; None if there is none."""
    return max(run_names(project), key=lambda name: record_path(project, name).stat().st_mtime, default=None)


def known_run(project: Path, name: str) -> str:
    """Return `name` if there is such a run.

    Raises:
        RefusalError: there is no such run; the message lists the runs that exist.
    """
    names = run_names(project)
    if name in names:
        return name
    there = f"there are {', '.join(names)}" if names else "no run is set up here yet, `kedro run` makes one"
    raise RefusalError(f"there is no run {name!r}: {there}")


def overview(project: Path, name: str, *, measure_size: bool = False) -> RunOverview:
    """Collect what is known about the run `name`; a damaged or unreadable file is a note, not an error."""
    try:
        return _overview(project, name, measure_size)
    except (RunConflictError, StorageError) as error:
        return RunOverview(name, "damaged", note=str(error))


def _overview(project: Path, name: str, measure_size: bool) -> RunOverview:
    record = read_record(project, name)
    if record is None:
        return RunOverview(name, "damaged", note="it has no run record")
    curve = read_curve(project, name)
    checkpoints = run_folder(project, "models", name) / "checkpoints"
    frames = max([_last(curve, "frames") or 0, *_checkpoint_frames(checkpoints)])
    scores = read_scores(project, name)
    collecting = holder(run_folder(project, "primary", name) / "seed_replay")
    learning = holder(checkpoints)
    total = record.get("total_frames")
    return RunOverview(
        name=name,
        state=_state(collecting, learning, int(frames), total, scores),
        game=record["game"],
        seed=record["seed"],
        preset=record.get("preset"),
        created=record["created"],
        max_episode_frames=_episode_limit(record),
        frames=int(frames),
        total_frames=total,
        frames_per_second=_last(curve, "speed/frames_per_second"),
        training_return=_last(curve, "episodes/return"),
        holder=learning or collecting,
        protocol=None if scores is None else scores["protocol"]["name"],
        scores={} if scores is None else _agent_scores(scores),
        size_bytes=_size(project, name) if measure_size else 0,
    )


def read_curve(project: Path, name: str) -> list[Row]:
    """Read the learning curve's rows without unmeasured cells; empty if the file is missing or damaged.

    Raises:
        StorageError: the file cannot be read now.
    """
    path = run_folder(project, "reporting", name) / "learning_curve.csv"
    try:
        with reading_errors(path), path.open(newline="") as stream:
            return [_numbers(row) for row in csv.DictReader(stream)]
    except (CheckpointError, ValueError, TypeError, AttributeError, csv.Error):
        return []


def configuration(project: Path, name: str) -> dict[str, Any]:
    """Return the configuration in the run's record, which shaped its learning."""
    record: RunRecord | None = read_record(project, name)
    return {} if record is None else record.get("configuration", {})


def _episode_limit(record: RunRecord) -> int | None:
    limit = (record.get("configuration", {}).get("env") or {}).get("max_episode_frames")
    return limit if isinstance(limit, int) else None


def _state(
    collecting: Holder | None, learning: Holder | None, frames: int, total: int | None, scores: dict[str, Any] | None
) -> str:
    if learning is not None:
        return "learning"
    if collecting is not None:
        return "collecting"
    if scores is not None and (total is None or frames >= total):
        return "evaluated"
    if frames == 0:
        return "set up"
    return "learned" if total is not None and frames >= total else "stopped"


def _checkpoint_frames(folder: Path) -> list[float]:
    """Read the frames of the newest checkpoint that has a readable manifest."""
    for path in sorted(folder.glob("checkpoint-*/manifest.json"), reverse=True):
        try:
            return [float(read_json(path)["frames"])]
        except (CheckpointError, KeyError, TypeError, ValueError):
            continue
    return []


def read_scores(project: Path, name: str) -> dict[str, Any] | None:
    """Read what `evaluate` found; None if the file is missing or damaged."""
    try:
        path = run_folder(project, "reporting", name) / "scores.json"
        scores: dict[str, Any] = with_todays_agents(read_json(path))
        _agent_scores(scores)
        str(scores["protocol"]["name"])
    except (CheckpointError, KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None
    return scores


def _agent_scores(scores: dict[str, Any]) -> dict[str, AgentScore]:
    found = {}
    for agent, summary in scores["agents"].items():
        low, high = (None, None) if summary["interval"] is None else map(float, summary["interval"])
        mean, std, human = float(summary["mean"]), float(summary["std"]), summary.get("human_normalised")
        share = None if human is None else float(human["mean"])
        found[agent] = AgentScore(mean, std, low, high, int(summary["episodes"]), share)
    return found


def _numbers(row: dict[str, str]) -> Row:
    numbers = {name: float(text) for name, text in row.items() if text}
    return {name: value for name, value in numbers.items() if math.isfinite(value)}


def _last(curve: Sequence[Row], column: str) -> float | None:
    return next((row[column] for row in reversed(curve) if column in row), None)


def _size(project: Path, name: str) -> int:
    return sum(total_size(project / "data" / layer / name) for layer in LAYERS.values())
