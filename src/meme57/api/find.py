"""A policy by what people call it: a run's name, a folder, the address of a registered model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from meme57.api.project import project_folder
from meme57.errors import Meme57Error, RefusalError

if TYPE_CHECKING:
    from meme57.export.policy_folder import PlayablePolicy


def find_policy(source: str, agent: str | None = None, *, torso: str | None = None) -> PlayablePolicy:
    """Find the policy of a run of this project, of a folder, of `models:/meme57-pong@champion`, or of a game.

    A game's name stands for the policy that comes with meme57, unless a run has that name.

    Args:
        agent: teacher or student, of a run or a game; by default the teacher.
        torso: as for `meme57.learning.policies.Teacher.load`.

    Raises:
        Meme57Error: there is none, or it cannot be used; one line.
    """
    from meme57.export.policy_folder import open_policy

    return open_policy(find_folder(source, agent), torso=torso)


def find_folder(source: str, agent: str | None = None, *, project: Path | None = None) -> Path:
    """Find the folder with the weights; arguments and errors as for `find_policy`.

    Args:
        project: the project's folder; by default the one around the working directory.
    """
    if source.startswith("models:/"):
        from meme57.api.store import existing_store
        from meme57.tracking.pyfunc import policy_data

        return policy_data(existing_store(project or project_folder()), source)
    if "/" in source or Path(source).is_dir():
        return Path(source)
    from meme57.api.pretrained import pretrained_folder

    if not _is_run(source, project) and (found := pretrained_folder(source, agent)) is not None:
        return found
    return run_policy(source, agent or "teacher", project=project)


def _is_run(name: str, project: Path | None) -> bool:
    from meme57.tracking.overview import run_names

    try:
        return name in run_names(project or project_folder())
    except Meme57Error:
        return False


def run_policy(run: str, agent: str, *, project: Path | None = None) -> Path:
    """Find the folder of a run's best checkpoint, or of its student.

    Raises:
        RefusalError: there is no such run, or it has none yet; one line that says what makes it.
    """
    from meme57.checkpoints.store import best_checkpoint
    from meme57.tracking.overview import known_run, run_folder

    project = project or project_folder()
    models = run_folder(project, "models", known_run(project, run))
    if agent == "student":
        if not (models / "student" / "student.json").is_file():
            raise RefusalError(
                f"run {run!r} has no student yet: `kedro run --pipelines distill` makes it (same options)"
            )
        return models / "student"
    best = best_checkpoint(models / "checkpoints")
    if best is None:
        raise RefusalError(
            f"run {run!r} has no checkpoint yet: `kedro run` trains it, `meme57 status` shows how far it is"
        )
    return best.folder
