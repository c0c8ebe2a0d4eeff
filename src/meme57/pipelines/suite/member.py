"""One member of a suite in its own process: the pipelines of its run, and the note that says it is done.

The suite reads nothing but the note about a member. The note is written when a member begins and when it ends. So a
killed suite knows what is done, and resumes the MLflow runs of the other members.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from meme57.config import Parameters, parse_parameters
from meme57.config.identity import former_member_digest, is_same
from meme57.config.labels import digest
from meme57.config.members import Member, member_settings
from meme57.config.renames import with_todays_agents
from meme57.datasets.schemas import MemberNote
from meme57.errors import CheckpointError, Interrupted, Meme57Error, RunConflictError, one_line, own_error
from meme57.files import checked, read_json, write_json
from meme57.stopping import stop_requested

if TYPE_CHECKING:
    from meme57.tracking.trials import StudyRun

State = Literal["running", "done", "failed", "stopped"]
CURVE_COLUMNS = ("frames", "episodes/return", "episodes/finished")
CURVE_POINTS = 200

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """Everything that a member's process needs, as plain values."""

    member: Member
    parameters: dict[str, Any]
    """The whole tree of the member's run."""
    project: str
    environment: str
    note: Path
    pipelines: tuple[str, ...]
    suite_run: StudyRun | None
    protocol: str


def read_note(path: Path) -> dict[str, Any]:
    """Read the note of a member; empty if there is none, or with a warning if it is damaged."""
    try:
        note = with_todays_agents(read_json(path)) if path.exists() else {}
        if isinstance(note, dict):
            if note.get("state") == "done":
                checked(MemberNote, note, path)
            return note
        log.warning("%s contains no JSON object: the member runs again", path)
    except CheckpointError as error:
        log.warning("%s: the member runs again", error)
    return {}


def is_done(task: Task) -> bool:
    """Say whether the member ended well with the same configuration, length and evaluation."""
    note = read_note(task.note)
    return note.get("state") == "done" and "scores" in note and _is_of(task, note)


def _is_of(task: Task, note: Mapping[str, Any]) -> bool:
    """Say whether the note was written for the same settings."""
    own, settings = parse_parameters(task.parameters), note.get("settings")
    stored = settings if isinstance(settings, Mapping) else None
    return is_same(stored, note.get("digest"), member_settings(own), former_member_digest(own))


def run_member(task: Task) -> None:
    """Run the pipelines of one member.

    Raises:
        Interrupted: a stop was requested; the run wrote its checkpoint.
        Meme57Error: the member failed; the message is one line.
    """
    from meme57.tracking.trials import TrialRun

    before, parameters = read_note(task.note), parse_parameters(task.parameters)
    _refuse_a_longer_run(task, parameters)
    goes_on = _is_of(task, before) and not parameters.run.fresh  # a metric of the old run has no second value
    known = before.get("mlflow_run_id") if goes_on else None
    member = task.member
    settings = member_settings(parameters)
    who = {"game": member.game, "seed": member.seed, "variant": member.variant}
    run = TrialRun(task.suite_run, member.name, {**who, **member.values}, known, tags=_tags(task))
    note: dict[str, Any] = {
        "name": member.name,
        **who,
        "digest": digest(settings),
        "settings": settings,
        "state": "running",
        "mlflow_run_id": run.run_id or known,
    }
    write_json(task.note, note)
    state, why = "FAIL", None
    try:
        note |= _play(task)
        run.report(_metrics(note["scores"]), frames=note["scores"]["frames"])
        write_json(task.note, note | {"state": "done"})
        state = "COMPLETE"
    except (Interrupted, KeyboardInterrupt):
        write_json(task.note, note | {"state": "stopped"})
        state, why = "STOPPED", "the suite was stopped"
        raise
    except BaseException as error:
        why = one_line(error)
        write_json(task.note, note | {"state": "failed", "error": why})
        raise Meme57Error(why) from error
    finally:
        run.close(state, why)


def _refuse_a_longer_run(task: Task, parameters: Parameters) -> None:
    """Refuse a run that has learned for more frames than the suite wants: it would be scored as if it had not."""
    from meme57.tracking.overview import overview, run_names

    project, name, wanted = Path(task.project), task.member.name, parameters.run.total_frames
    if parameters.run.fresh or name not in run_names(project):
        return
    run = overview(project, name)
    if run.total_frames is not None and wanted < min(run.frames, run.total_frames):
        raise RunConflictError(
            f"run {name!r} has learned {run.frames:,} frames, more than run.total_frames={wanted}: another "
            "suite.prefix learns beside it, run.fresh=true in its place"
        )


def _play(task: Task) -> dict[str, Any]:
    """Run the member's pipelines in a Kedro session; return its scores, learning curve and commit."""
    from kedro.framework.session import KedroSession
    from kedro.framework.startup import bootstrap_project
    from kedro.runner import SequentialRunner

    if stop_requested():
        raise Interrupted(f"{task.member.name} was stopped before it began")
    project = Path(task.project)
    bootstrap_project(project)
    options: dict[str, Any] = {"project_path": project, "env": task.environment, "runtime_params": task.parameters}
    try:
        with KedroSession.create(**options) as session:
            session.run(pipeline_names=list(task.pipelines), runner=SequentialRunner())
    except Exception as error:
        own = own_error(error)
        if own is not None:
            raise own from error
        raise
    with KedroSession.create(**options) as session:
        catalog = session.load_context().catalog
        return {
            "scores": catalog.load("scores"),
            "curve": thinned_curve(catalog.load("learning_curve")),
            "commit": catalog.load("run_record")["commit"],
        }


def thinned_curve(curve: Any) -> list[dict[str, float]]:
    """Keep the learning curve's rows that have a return; join neighbours until at most `CURVE_POINTS` are left."""
    rows = [
        {name: float(row[name]) for name in CURVE_COLUMNS}
        for row in curve.to_dict(orient="records")
        if all(name in row and math.isfinite(row[name]) for name in CURVE_COLUMNS)
    ]
    while len(rows) > CURVE_POINTS:
        rows = [_joined(rows[i : i + 2]) for i in range(0, len(rows), 2)]
    return rows


def _joined(rows: list[dict[str, float]]) -> dict[str, float]:
    weight = sum(row["episodes/finished"] for row in rows)
    total = sum(row["episodes/finished"] * row["episodes/return"] for row in rows)
    mean = total / weight if weight else rows[-1]["episodes/return"]
    return {"frames": rows[-1]["frames"], "episodes/return": mean, "episodes/finished": weight}


def _metrics(scores: Mapping[str, Any]) -> dict[str, float]:
    from meme57.evaluation.scores import score_metrics

    return score_metrics(scores["agents"])


def _tags(task: Task) -> dict[str, str]:
    return {
        "meme57.member_run": task.member.name,
        "meme57.game": task.member.game,
        "meme57.seed": str(task.member.seed),
        "meme57.variant": task.member.variant,
        "meme57.protocol": task.protocol,
    }
