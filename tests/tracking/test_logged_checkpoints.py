from __future__ import annotations

from pathlib import Path

import pytest

from meme57.errors import TrackingError
from meme57.tracking.checkpoints import log_checkpoint
from meme57.tracking.runs import ActiveRun


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "manifest.json").write_text("{}")
    (tmp_path / "weights.safetensors").write_bytes(b"weights")
    (tmp_path / "replay.zst").write_bytes(b"large")
    return tmp_path


def test_checkpoint_is_a_ready_logged_model_with_metrics_and_step(active: ActiveRun, folder: Path) -> None:
    metrics = {"score": 2.5, "unknown": None, "bad": float("nan")}
    number = log_checkpoint(active.client, active.run_id, "frames/0.1", folder, frames=1000, metrics=metrics)
    model = active.client.get_logged_model(number)
    assert (model.status, model.source_run_id, model.name) == ("READY", active.run_id, "frames-0-1")
    assert [(metric.key, metric.value, metric.step) for metric in model.metrics] == [("score", 2.5, 1000)]
    outputs = active.client.get_run(active.run_id).outputs.model_outputs
    assert [(output.model_id, output.step) for output in outputs] == [(number, 1000)]
    stored = Path(model.artifact_location.removeprefix("file://"))
    assert {file.name for file in stored.iterdir()} == {"manifest.json", "weights.safetensors"}  # not the replay
    assert (stored / "weights.safetensors").read_bytes() == b"weights"
    assert not (stored / "weights.safetensors").is_symlink()


def test_files_can_be_named(active: ActiveRun, folder: Path) -> None:
    number = log_checkpoint(
        active.client, active.run_id, "c", folder, frames=1, metrics={}, files=["manifest.json", "absent"]
    )
    stored = Path(active.client.get_logged_model(number).artifact_location.removeprefix("file://"))
    assert [file.name for file in stored.iterdir()] == ["manifest.json"]


def test_folder_without_the_files_is_refused(active: ActiveRun, tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match=r"holds none of manifest\.json"):
        log_checkpoint(active.client, active.run_id, "c", tmp_path, frames=1, metrics={})


def test_unknown_run_is_one_line(active: ActiveRun, folder: Path) -> None:
    with pytest.raises(TrackingError, match="checkpoint c cannot be stored"):
        log_checkpoint(active.client, "0" * 32, "c", folder, frames=1, metrics={})
