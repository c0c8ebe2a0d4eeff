"""Nodes of `tune`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from meme57.config import Parameters, parse_parameters
from meme57.stopping import stop_requested
from meme57.tracking.run_record import TrackingRun

if TYPE_CHECKING:
    from meme57.tuning.study import Place


def run_study(
    parameters: dict[str, Any], tracking_run: TrackingRun, study_folder: Path, trials_folder: Path
) -> dict[str, Any]:
    """Work on the study until its budget is spent; return its record."""
    from meme57.tracking.trials import StudyRun
    from meme57.tuning import workers

    settings = parse_parameters(parameters)
    run = StudyRun.of(tracking_run, f"tune-{settings.study_name}")
    place = _place(study_folder, trials_folder, run)
    workers.run_study(settings, place, stop_requested)
    return _record(settings, place)


def compare(parameters: dict[str, Any], study_record: dict[str, Any], trials_folder: Path) -> dict[str, Any]:
    """Compare the best trial's values with the configured ones on fresh seeds; empty if there are no such seeds."""
    from meme57.learning.progress import counter
    from meme57.tracking import results, runs
    from meme57.tuning import evidence

    with counter("compare", "learning runs") as progress:
        found = evidence.compare(
            parse_parameters(parameters),
            study_record["best"]["values"],
            trials_folder / "evidence",
            stop_requested,
            progress,
            scale=study_record["score"],
        )
    active = runs.active_run()
    if active is not None:
        metrics = {"best_score": study_record["best"]["score"], "study_frames": study_record["frames"]}
        if found is not None:
            metrics |= {f"evidence/{side}": found[side]["mean"] for side in results.SIDES}
        runs.log_metrics(active, metrics, step=study_record["frames"])
        runs.log_results(active, results.study_results(study_record, found), step=study_record["frames"])
    return found or {}


def write_environment(
    parameters: dict[str, Any], study_record: dict[str, Any], study_evidence: dict[str, Any], place: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Return `parameters.yml` of the tuned environment, and the evidence file beside it."""
    from meme57.tuning.result import environment_text

    text = environment_text(parse_parameters(parameters), study_record, study_evidence or None, place["chain"])
    beside = {key: study_record[key] for key in ("study", "fingerprint", "games", "frames", "best")}
    return text, {**beside, "evidence": study_evidence or None}


def make_study_plots(
    parameters: dict[str, Any],
    study_record: dict[str, Any],
    study_evidence: dict[str, Any],
    study_folder: Path,
    trials_folder: Path,
) -> tuple[Any, ...]:
    """Draw history, importances, parallel coordinates, slices and intermediate values, and build their page."""
    from meme57.tuning.plots import study_figures, study_page
    from meme57.tuning.study import open_study

    figures = study_figures(open_study(parse_parameters(parameters), _place(study_folder, trials_folder, None)))
    return *figures.values(), study_page(study_record, study_evidence or None, figures)


def show_study(
    study_record: dict[str, Any], study_evidence: dict[str, Any], study_report: str, place: dict[str, Any]
) -> None:
    """Print the final table of the study, and what to type next; `study_report` only shows that the page is written."""
    from meme57.report.summary import print_study_summary
    from meme57.tracking.overview import run_folder

    folder = run_folder(Path(place["project"]), "reporting", f"tune-{study_record['study']}")
    print_study_summary(study_record, study_evidence or None, page=folder / "report.html")


def _place(study_folder: Path, trials_folder: Path, tracking: Any) -> Place:
    from meme57.tuning.study import Place

    return Place(study_folder / "study.journal", trials_folder, tracking)


def _record(parameters: Parameters, place: Place) -> dict[str, Any]:
    from meme57.tuning.result import study_record
    from meme57.tuning.study import open_study

    return study_record(open_study(parameters, place), parameters)
