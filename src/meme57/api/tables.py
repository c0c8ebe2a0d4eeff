"""Runs, learning curves and scores of the project around the working directory, as DataFrames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meme57.api.project import project_folder
from meme57.config.renames import with_todays_agents
from meme57.errors import Meme57Error
from meme57.files import read_json, reading_errors

if TYPE_CHECKING:
    import pandas as pd


def runs() -> pd.DataFrame:
    """List the runs by name: state, game, seed, frames, training_return, and the teacher's score with its interval."""
    import pandas as pd

    from meme57.tracking.overview import overview, run_names

    project = project_folder()
    rows: list[dict[str, Any]] = []
    for name in run_names(project):
        found = overview(project, name)
        teacher = found.scores.get("teacher")
        rows.append(
            {
                "run": name,
                **{key: getattr(found, key) for key in COLUMNS},
                "teacher": teacher and teacher.mean,
                "teacher_low": teacher and teacher.low,
                "teacher_high": teacher and teacher.high,
            }
        )
    return pd.DataFrame(rows, columns=["run", *COLUMNS, "teacher", "teacher_low", "teacher_high"]).set_index("run")


COLUMNS = ("state", "game", "seed", "frames", "total_frames", "training_return")


def curve(run: str) -> pd.DataFrame:
    """Read the learning curve of a run: a row each `run.log_period_frames` (docs/metrics.md); NaN is not measured.

    Raises:
        Meme57Error: there is no such run, or it has no curve yet.
    """
    import pandas as pd

    from meme57.tracking.overview import known_run, run_folder

    path = run_folder(project_folder(), "reporting", known_run(project_folder(), run)) / "learning_curve.csv"
    if not path.is_file():
        raise Meme57Error(f"run {run!r} has no learning curve yet: `kedro run` trains it")
    with reading_errors(path):
        try:
            return pd.read_csv(path)
        except ValueError as error:
            raise Meme57Error(f"{path} is damaged ({error}): `kedro run --pipelines learn` mends it") from error


def scores(run: str) -> pd.DataFrame:
    """Read the scores of a run, a row for each agent: mean, low, high, std, iqm, episodes, human_normalised.

    `human_normalised` is NaN for a game without reference scores; 1 is human.

    Raises:
        Meme57Error: there is no such run, or it was not evaluated yet.
    """
    import pandas as pd

    from meme57.tracking.overview import known_run, run_folder

    path = run_folder(project_folder(), "reporting", known_run(project_folder(), run)) / "scores.json"
    if not path.is_file():
        raise Meme57Error(f"run {run!r} has no scores yet: `kedro run --pipelines evaluate` makes them (same options)")
    try:
        rows = [_score(agent, summary) for agent, summary in with_todays_agents(read_json(path))["agents"].items()]
        return pd.DataFrame(rows).set_index("agent")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Meme57Error(f"{path} is damaged ({error!r}): `kedro run --pipelines evaluate` makes it anew") from error


def _score(agent: str, summary: dict[str, Any]) -> dict[str, Any]:
    low, high = summary["interval"] or (None, None)
    human = summary["human_normalised"]
    return {
        "agent": agent,
        "mean": summary["mean"],
        "low": low,
        "high": high,
        "std": summary["std"],
        "iqm": summary["iqm"],
        "episodes": summary["episodes"],
        "human_normalised": float("nan") if human is None else human["mean"],
    }
