"""The page of a run from whatever is on disk: while it learns, after a stop, or when it has its scores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from meme57.errors import CheckpointError, Meme57Error
from meme57.evaluation.reference import ReferenceScore, reference_beside
from meme57.files import read_json, write_bytes
from meme57.report.page import build_progress_page, build_report
from meme57.report.rendering import exact, number, percent, score
from meme57.tracking.duration import in_words
from meme57.tracking.overview import RunOverview, known_run, overview, read_scores, run_folder

if TYPE_CHECKING:
    import pandas as pd

REPORT, PROGRESS = "report.html", "progress.html"
"""The page that `report` makes, and the page of a run that is not evaluated yet."""
REFRESH_SECONDS = 60


def show_run(project: Path, name: str) -> Path:
    """Return the page of a run: the one of `report` if it is up to date, else one that is written now.

    From then on `renew_page` keeps it up to date.

    Raises:
        Meme57Error: there is no such run, or its record is damaged.
    """
    folder = run_folder(project, "reporting", known_run(project, name))
    report, curve = folder / REPORT, folder / "learning_curve.csv"
    if report.is_file() and not (curve.is_file() and curve.stat().st_mtime > report.stat().st_mtime):
        return report
    return write_bytes(folder / PROGRESS, progress_page(project, name).encode())


def renew_page(project: Path, name: str) -> None:
    """Write the page of a run that learns again, if somebody asked for it with `show_run`."""
    path = run_folder(project, "reporting", name) / PROGRESS
    if path.is_file():
        write_bytes(path, progress_page(project, name).encode())


def progress_page(project: Path, name: str) -> str:
    """Build the page of a run from the files that it has.

    Raises:
        Meme57Error: its record is damaged.
    """
    run = overview(project, name)
    if run.game is None:
        raise Meme57Error(f"{name} has no page: {run.note}")
    page = _page_with_scores(project, run)
    return _page_without_scores(project, run, run.game) if page is None else page


def _page_with_scores(project: Path, run: RunOverview) -> str | None:
    """Build the page with scores and episodes; None if there are none, or they do not fit the page."""
    scores = read_scores(project, run.name)
    output, reporting = (run_folder(project, layer, run.name) for layer in ("output", "reporting"))
    episodes = _table(output / "episodes.csv")
    if scores is None or not {"agent", "episode", "return"} <= set(episodes):
        return None
    try:
        return build_report(
            run_name=run.name,
            scores=scores,
            learning_curve=_table(reporting / "learning_curve.csv"),
            episodes=episodes,
            fidelity=None,
            video=None,
            lineage=_lineage(project, run.name),
            state=_state(run),
            refresh_seconds=_refresh(run),
        )
    except (LookupError, TypeError, ValueError):  # a file of another version, or edited by hand
        return None


def _page_without_scores(project: Path, run: RunOverview, game: str) -> str:
    reference = reference_beside(run.game, run.max_episode_frames)
    return build_progress_page(
        run_name=run.name,
        game=game,
        frames=run.frames,
        state=_state(run),
        facts=_facts(run, reference),
        learning_curve=_table(run_folder(project, "reporting", run.name) / "learning_curve.csv"),
        reference=None if reference is None else vars(reference),
        lineage=_lineage(project, run.name),
        refresh_seconds=_refresh(run),
    )


def _refresh(run: RunOverview) -> int | None:
    return REFRESH_SECONDS if run.holder is not None else None


def _state(run: RunOverview) -> str:
    total = "" if run.total_frames is None else f" of {run.total_frames:,}"
    left = "" if run.remaining_seconds is None else f", {in_words(run.remaining_seconds)} left"
    hint = ": the same `kedro run` resumes it" if run.state == "stopped" else ""
    return f"{run.state}: {run.frames:,}{total} frames{left}{hint}"


def _facts(run: RunOverview, reference: ReferenceScore | None) -> list[tuple[str, str, str]]:
    facts = []
    if run.training_return is not None:
        facts.append(("Return while learning", score(run.training_return), "the last log period, all policies"))
    if reference is not None:
        facts += [("Random play", exact(reference.random), "published"), ("Human", exact(reference.human), "published")]
    if run.total_frames:
        facts.append(("Frames", percent(min(1.0, run.frames / run.total_frames)), f"of {number(run.total_frames)}"))
    return facts


def _table(path: Path) -> pd.DataFrame:
    """Read a table; no rows if it is missing or damaged, since the rest of the page stands without it."""
    import pandas as pd

    try:
        return pd.read_csv(path)
    except (OSError, ValueError):
        return pd.DataFrame()


def _lineage(project: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for file in ("run_record.json", "hardware.json"):
        try:
            found |= read_json(run_folder(project, "intermediate", name) / file)
        except (CheckpointError, TypeError, ValueError):
            continue
    return found
