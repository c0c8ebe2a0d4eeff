from __future__ import annotations

from pathlib import Path

import pytest

from meme57.addresses import local_path
from meme57.errors import TrackingError
from meme57.tracking.checkpoints import log_checkpoint, upload_folder
from meme57.tracking.runs import ActiveRun

FILES = ("manifest.json", "network.safetensors")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "manifest.json").write_text("{}")
    (tmp_path / "network.safetensors").write_bytes(b"weights")
    (tmp_path / "replay.zst").write_bytes(b"large")
    return tmp_path


def test_checkpoint_is_a_ready_logged_model_with_metrics_and_step(active: ActiveRun, folder: Path) -> None:
    metrics = {"score": 2.5, "unknown": None, "bad": float("nan")}
    number = log_checkpoint(
        active.client, active.run_id, "frames/0.1", folder, frames=1000, metrics=metrics, files=FILES
    )
    model = active.client.get_logged_model(number)
    assert (model.status, model.source_run_id, model.name) == ("READY", active.run_id, "frames-0-1")
    assert [(metric.key, metric.value, metric.step) for metric in model.metrics] == [("score", 2.5, 1000)]
    outputs = active.client.get_run(active.run_id).outputs.model_outputs
    assert [(output.model_id, output.step) for output in outputs] == [(number, 1000)]
    stored = local_path(model.artifact_location)
    assert stored is not None
    assert {file.name for file in stored.iterdir()} == set(FILES)  # not the replay
    assert (stored / "network.safetensors").read_bytes() == b"weights"
    assert not (stored / "network.safetensors").is_symlink()


def test_a_checkpoint_that_lacks_a_file_is_refused(active: ActiveRun, folder: Path) -> None:
    """A default list once named files that no checkpoint has: what there was went to MLflow, without the weights."""
    with pytest.raises(TrackingError, match=r"has no weights\.safetensors: `upload` in conf/base/catalog\.yml"):
        log_checkpoint(
            active.client, active.run_id, "c", folder, frames=1, metrics={}, files=[*FILES, "weights.safetensors"]
        )
    assert active.client.search_logged_models([active.experiment_id]) == []


def test_unknown_run_is_one_line(active: ActiveRun, folder: Path) -> None:
    with pytest.raises(TrackingError, match="checkpoint c cannot be stored"):
        log_checkpoint(active.client, "0" * 32, "c", folder, frames=1, metrics={}, files=FILES)


def test_a_model_whose_files_could_not_be_stored_is_failed(active: ActiveRun, folder: Path) -> None:
    model = active.client.create_logged_model(active.experiment_id, "c", active.run_id)
    place = local_path(model.artifact_location)
    assert place is not None
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("a file where the folder is to be")
    with pytest.raises(OSError, match=r"exists|Not a directory"):
        upload_folder(active.client, model.model_id, folder)
    assert active.client.get_logged_model(model.model_id).status == "FAILED"
