"""Where a run's policies lie."""

from __future__ import annotations

from pathlib import Path

from meme57.errors import Meme57Error


def run_policy(project: Path, run: str, agent: str) -> Path:
    """Find the folder of a run's best checkpoint, or of its student.

    Raises:
        Meme57Error: there is no such run, or it has none yet; one line with what makes it.
    """
    from meme57.checkpoints.store import CheckpointStore
    from meme57.tracking.overview import known_run, run_folder

    models = run_folder(project, "models", known_run(project, run))
    if agent == "student":
        if not (models / "student" / "student.json").is_file():
            raise Meme57Error(
                f"run {run!r} has no student yet: `kedro run --pipelines distill` makes it (same options)"
            )
        return models / "student"
    best = CheckpointStore(models / "checkpoints", fingerprint="", configuration={}, keep=1).best()
    if best is None:
        raise Meme57Error(
            f"run {run!r} has no checkpoint yet: `kedro run` trains it, `meme57 status` shows how far it is"
        )
    return best.folder
