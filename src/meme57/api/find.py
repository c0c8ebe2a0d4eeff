"""A policy by what people call it: a run's name, a folder, the address of a registered model."""

from __future__ import annotations

from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING

from meme57.api.project import project_folder
from meme57.errors import Meme57Error, RefusalError

if TYPE_CHECKING:
    from meme57.export.policy_folder import PlayablePolicy


def find_policy(source: str | PathLike[str], agent: str | None = None, *, torso: str | None = None) -> PlayablePolicy:
    """Find the policy of a run of this project, of a folder, of `models:/meme57-pong@champion`, or of a game.

    A game's name stands for the policy that comes with meme57, unless a run, or a folder here with a policy, has that
    name.

    Args:
        agent: teacher or student; by default the teacher, or of a game the student where only that is installed.
        torso: as for `meme57.learning.policies.Teacher.load`.

    Raises:
        Meme57Error: there is none, or it cannot be used; one line.
    """
    from meme57.export.policy_folder import open_policy

    found = open_policy(find_folder(fspath(source), agent), torso=torso)
    if agent not in (None, found.agent):
        raise RefusalError(f"{source} is a {found.agent}: leave out {agent}, or name the {agent}'s own folder or model")
    return found


def find_folder(source: str, agent: str | None = None, *, project: Path | None = None) -> Path:
    """Find the folder with the weights; arguments and errors as for `find_policy`.

    Args:
        project: the project's folder; by default the one around the working directory.
    """
    if source.startswith("models:/"):
        from meme57.api.store import existing_store
        from meme57.tracking.pyfunc import policy_data

        return policy_data(existing_store(project or project_folder()), source)
    from meme57.api.pretrained import pretrained_folder, pretrained_games
    from meme57.export.policy_folder import holds_policy

    if _is_run(source, project):
        return run_policy(source, agent or "teacher", project=project)
    if holds_policy(Path(source)):
        return Path(source)
    if (found := pretrained_folder(source, agent)) is not None:
        return found
    if "/" in source or Path(source).is_dir():
        return Path(source)
    try:
        return run_policy(source, agent or "teacher", project=project)
    except Meme57Error as error:
        raise RefusalError(f"{error}; a policy comes with {', '.join(pretrained_games())}") from error


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
