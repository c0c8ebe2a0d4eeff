"""Nodes of `learn`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meme57.config import Parameters, parse_parameters
from meme57.errors import CheckpointError, Meme57Error
from meme57.stopping import stop_requested

if TYPE_CHECKING:
    from meme57.learning.trainer import TrainingEvent

log = logging.getLogger(__name__)


def learn(
    parameters: dict[str, Any],
    env_spec: dict[str, Any],
    seed_replay: dict[str, Any],
    seed_replay_folder: Path,
    initial_policy_folder: Path,
    checkpoint_folder: Path,
    place: dict[str, Any],
) -> Iterator[tuple[dict[str, Any], list[dict[str, float]]]]:
    """Yield (checkpoint record or {}, metrics rows); `seed_replay` only shows that the seed replay exists."""
    from meme57.envs import agreed_spec
    from meme57.evaluation.ranking import checkpoint_evaluation
    from meme57.learning import trainer
    from meme57.learning.progress import show_progress
    from meme57.report.run_page import renew_page

    settings = parse_parameters(parameters)
    _refuse_lost_checkpoints(settings, Path(place["project"]), checkpoint_folder, seed_replay["frames"])
    events = trainer.learn(
        settings,
        agreed_spec(settings.env, env_spec),
        checkpoint_folder,
        seed_replay=seed_replay_folder,
        initial_policy=initial_policy_folder,
        evaluate=checkpoint_evaluation(settings, stop=stop_requested),
        stop=stop_requested,
    )
    try:
        for event in show_progress(events, total_frames=settings.run.total_frames, title=f"learn {settings.run_name}"):
            yield checkpoint_record(event), event.rows  # what is yielded is saved before the next line
            if event.checkpoint is not None:
                _renew(renew_page, place, settings.run_name)
    finally:
        _renew(renew_page, place, settings.run_name)  # now that nobody learns, be it after a stop


def _refuse_lost_checkpoints(settings: Parameters, project: Path, folder: Path, seed_frames: int) -> None:
    """Refuse to learn from the beginning where the curve says that there was a checkpoint: a disk may be missing."""
    from meme57.checkpoints.store import PREFIX
    from meme57.tracking.overview import read_curve

    learned = max((row["frames"] for row in read_curve(project, settings.run_name) if "frames" in row), default=0)
    if learned > seed_frames + 2 * settings.run.checkpoint_period_frames and not any(folder.glob(f"{PREFIX}*")):
        raise CheckpointError(
            f"run {settings.run_name!r} has learned {learned:,.0f} frames, and {folder} has no checkpoint: put them "
            "back (is a disk not mounted?), or begin the run again with run.fresh=true"
        )


def _renew(renew_page: Callable[[Path, str], None], place: dict[str, Any], run_name: str) -> None:
    """Renew the page of the run; a page that cannot be written is no reason to stop learning."""
    try:
        renew_page(Path(place["project"]), run_name)
    except (Meme57Error, OSError) as error:
        log.warning("the page of the run is not renewed: %s", error)


def checkpoint_record(event: TrainingEvent) -> dict[str, Any]:
    """Return the checkpoint of an event as the catalog stores it; empty if there is none."""
    if event.checkpoint is None:
        return {}
    record = asdict(event.checkpoint)
    metrics = {name: value for name, value in event.rows[-1].items() if "/" in name} if event.rows else {}
    return {**record, "folder": str(record["folder"]), "metrics": metrics}
