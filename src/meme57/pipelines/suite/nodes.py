"""Nodes of `suite`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meme57.config import Parameters, parse_parameters
from meme57.config.members import Member, member_parameters, suite_members
from meme57.errors import Interrupted, ResourceError, SuiteError
from meme57.stopping import stop_requested
from meme57.tracking.run_record import TrackingRun

if TYPE_CHECKING:
    import pandas as pd

MOST_NAMED = 5

log = logging.getLogger(__name__)


def run_members(
    parameters: dict[str, Any], tracking_run: TrackingRun, place: dict[str, str], suite_folder: Path
) -> dict[str, Any]:
    """Run every member that is not done, each in its own process; return the record of all members.

    Raises:
        Interrupted: a stop was requested; every open member wrote its checkpoint.
        RunConflictError: another process works on this suite.
    """
    from meme57.executor import LocalExecutor
    from meme57.lock import hold
    from meme57.pipelines.suite.member import is_done, read_note, run_member

    settings = parse_parameters(parameters)
    members = suite_members(settings)
    tasks = {member.name: _task(settings, member, tracking_run, place, suite_folder) for member in members}
    with hold(suite_folder):
        done = [name for name, task in tasks.items() if is_done(task)]
        done = [] if settings.run.fresh else done
        missing = [name for name in tasks if name not in done]
        open_ones = [] if settings.suite.report_only else [tasks[name] for name in missing]
        log.info("suite %s: %d members, %d done before", settings.suite_name, len(members), len(done))
        if open_ones:
            _check_room(open_ones[0], min(settings.suite.workers, len(open_ones)), Path(place["project"]))
        outcomes = LocalExecutor(settings.suite.workers).run(run_member, open_ones, stop=stop_requested)
    if stop_requested():
        raise Interrupted(f"suite {settings.suite_name} was stopped: {settings.same_command} resumes it")
    failed = {
        task.member.name: outcome.error for task, outcome in zip(open_ones, outcomes, strict=True) if outcome.error
    }
    return {
        "suite": settings.suite_name,
        "variants": list(dict.fromkeys(member.variant for member in members)),
        "games": list(settings.suite.game_names),
        "seeds": list(settings.suite.seeds),
        "members": [
            _identity(member, "missing")
            if settings.suite.report_only and member.name in missing
            else _entry(member, read_note(tasks[member.name].note), failed)
            for member in members
        ],
    }


def _check_room(task: Any, at_once: int, project: Path) -> None:
    """Refuse members that fit alone and not beside each other: each one's `setup` looks at itself only.

    Raises:
        ResourceError: `at_once` runs like this one need more memory than is free.
    """
    from meme57.blueprint import find_device
    from meme57.envs import env_spec
    from meme57.learning.estimate import estimate_resources, together
    from meme57.learning.machine import free_resources

    settings = parse_parameters(task.parameters)
    if at_once == 1 or not settings.run.check_resources:
        return
    needed = estimate_resources(settings, env_spec(settings.env), on_device=find_device().type != "cpu")
    if problem := together(needed, at_once, free_resources(project / "data"), run_name=settings.run_name):
        raise ResourceError(problem)


def _task(
    parameters: Parameters, member: Member, tracking_run: TrackingRun, place: dict[str, str], folder: Path
) -> Any:
    from meme57.pipelines import FLOW
    from meme57.pipelines.suite.member import Task
    from meme57.tracking.trials import StudyRun

    own, suite = member_parameters(parameters, member), parameters.suite
    left_out = {
        name for name, wanted in (("distill", suite.distill), ("register", suite.register_policies)) if not wanted
    }
    return Task(
        member=member,
        parameters=own.model_dump(mode="json", by_alias=True),
        project=place["project"],
        environment=place["environment"],
        note=folder / f"{member.name}.json",
        pipelines=tuple(name for name in FLOW if name not in left_out),
        suite_run=StudyRun.of(tracking_run, f"suite-{parameters.suite_name}", kind="member"),
        protocol=own.evaluate.protocol,
    )


def _entry(member: Member, note: dict[str, Any], failed: dict[str, str]) -> dict[str, Any]:
    """Make a member's entry in the suite's record: its scores, or one line that says why there are none."""
    if member.name in failed:
        error = note.get("error") if note.get("state") == "failed" else None
        return {**_identity(member, "failed"), "error": error or failed[member.name]}
    return {**_identity(member, "done"), "scores": note["scores"], "curve": note["curve"]}


def _identity(member: Member, state: str) -> dict[str, Any]:
    names = {"name": member.name, "game": member.game, "seed": member.seed, "variant": member.variant}
    return {**names, "state": state, "error": None}


def tabulate(parameters: dict[str, Any], suite_record: dict[str, Any]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Tabulate each member and agent, and compute the scores over games and seeds with their intervals."""
    import pandas as pd

    from meme57.evaluation.beside_published import beside_published
    from meme57.evaluation.suite_scores import COLUMNS, result_rows, suite_scores
    from meme57.tracking.results import suite_results
    from meme57.tracking.runs import active_run, log_metrics, log_results

    settings = parse_parameters(parameters)
    evaluate = settings.evaluate
    rows = result_rows(suite_record["members"])
    scores = suite_scores(
        rows,
        suite_record["variants"],
        suite_record["games"],
        confidence=evaluate.confidence,
        repetitions=evaluate.bootstrap_repetitions,
        seed=evaluate.seed,
    )
    scores["published"] = beside_published(
        rows,
        suite_record["games"],
        suite_record["variants"][0],
        settings.suite.compare,
        confidence=evaluate.confidence,
    )
    if (active := active_run()) is not None and rows:
        metrics = {
            f"suite/{variant}/{name}": value["value"]
            for variant, agents in scores["aggregates"].items()
            for name, value in agents.get("teacher", {}).get("statistics", {}).items()
        }
        frames = max(row["frames"] for row in rows)
        log_metrics(active, metrics, step=frames)
        log_results(active, suite_results(suite_record, scores), step=frames)
    return pd.DataFrame(rows, columns=list(COLUMNS)), scores


def make_suite_plots(
    parameters: dict[str, Any], suite_record: dict[str, Any], suite_scores: dict[str, Any], suite_results: pd.DataFrame
) -> tuple[Any, ...]:
    """Draw bars of every game, performance profile and learning curves, and build the page that shows them."""
    from meme57.report.suite_figures import suite_figures
    from meme57.report.suite_page import suite_page

    evaluate = parse_parameters(parameters).evaluate
    figures = suite_figures(
        suite_record,
        suite_scores,
        suite_results,
        confidence=evaluate.confidence,
        repetitions=min(evaluate.bootstrap_repetitions, 500),
        seed=evaluate.seed,
    )
    return *figures.values(), suite_page(suite_record, suite_scores, suite_results, figures)


def check_members(suite_record: dict[str, Any], suite_report: str) -> None:
    """Log how the suite went. This is the last node: `suite_report` only shows that everything is on disk.

    Raises:
        SuiteError: a member failed.
    """
    members = suite_record["members"]
    failed = [member for member in members if member["state"] == "failed"]
    done = sum(member["state"] == "done" for member in members)
    log.info("suite %s: %d of %d members done", suite_record["suite"], done, len(members))
    if failed:
        errors = "; ".join(f"{member['name']}: {member['error']}" for member in failed[:MOST_NAMED])
        more = f"; and {len(failed) - MOST_NAMED} more" if len(failed) > MOST_NAMED else ""
        raise SuiteError(
            f"{len(failed)} of {len(members)} members failed ({errors}{more}): the others are done and in the report; "
            "the same command (without run.fresh) tries the failed ones again"
        )
