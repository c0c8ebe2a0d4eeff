"""Store a training checkpoint as a light LoggedModel: initialise, upload the small files, finalise; about 0.1 s."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput, Metric
from mlflow.exceptions import MlflowException

from meme57.errors import TrackingError
from meme57.tracking.metrics import finite_numbers, metric_name
from meme57.tracking.store import first_line

MODEL_TYPE = "checkpoint"
"""Of these LoggedModels; a registered policy has another."""


def log_checkpoint(
    client: MlflowClient,
    run_id: str,
    name: str,
    folder: Path,
    *,
    frames: int,
    metrics: Mapping[str, object],
    files: Sequence[str],
) -> str:
    """Store the named files of a checkpoint folder (never the replay), and its metrics at step `frames`.

    Returns:
        The id of the LoggedModel; `models:/<id>` is its address.

    Raises:
        TrackingError: a file is missing, and nothing is stored; or the store refuses, and the LoggedModel is FAILED.
    """
    absent = [file for file in files if not (folder / file).is_file()]
    if absent:
        raise TrackingError(
            f"{folder} has no {', '.join(absent)}: `upload` in conf/base/catalog.yml names the files to store"
        )
    try:
        experiment = client.get_run(run_id).info.experiment_id
        tags = {"meme57.frames": str(frames)}
        model = client.create_logged_model(experiment, logged_model_name(name), run_id, tags, model_type=MODEL_TYPE)
        model_id = str(model.model_id)
        _upload(client, model_id, [folder / file for file in files])
        client.log_outputs(run_id, models=[LoggedModelOutput(model_id, frames)])
        _log_metrics(client, run_id, model_id, metrics, frames)
    except MlflowException as error:
        raise TrackingError(f"checkpoint {name} cannot be stored in MLflow: {first_line(error)}") from error
    return model_id


def logged_model_name(name: str) -> str:
    """Replace the characters that MLflow forbids in a model's name."""
    return re.sub(r"""[/:.%"']""", "-", name)


def upload_folder(client: MlflowClient, model_id: str, folder: Path) -> None:
    """Upload a whole folder as the LoggedModel's artifacts, and finalise it as READY or FAILED."""
    try:
        client.log_model_artifacts(model_id, str(folder))
    except Exception:
        client.finalize_logged_model(model_id, "FAILED")
        raise
    client.finalize_logged_model(model_id, "READY")


def _upload(client: MlflowClient, model_id: str, files: Sequence[Path]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        for file in files:
            (Path(temporary) / file.name).symlink_to(file.resolve())
        upload_folder(client, model_id, Path(temporary))


def _log_metrics(client: MlflowClient, run_id: str, model_id: str, metrics: Mapping[str, object], frames: int) -> None:
    now = int(time.time() * 1000)
    finite = finite_numbers(metrics)
    entries = [Metric(metric_name(key), value, now, frames, model_id=model_id) for key, value in finite.items()]
    if entries:
        client.log_batch(run_id, metrics=entries)
