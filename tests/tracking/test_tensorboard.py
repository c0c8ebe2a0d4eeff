"""TensorBoard's files hold what MLflow holds: names, steps, values; a resumed run hides what it measures again."""

from __future__ import annotations

import builtins
import struct
from pathlib import Path

import pytest
from mlflow import MlflowClient

from meme57.datasets import CheckpointsDataset, LearningCurveDataset
from meme57.errors import TrackingError
from meme57.tracking import runs
from meme57.tracking.runs import open_run, set_active_run
from meme57.tracking.tensorboard import TensorBoardFiles


def events(folder: Path) -> list[tuple[int | None, str, int, float]]:
    """(step from which older events are hidden, tag, step, value) in the order of writing, all files."""
    from tensorboardX.proto.event_pb2 import Event, SessionLog

    found = []
    for path in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns):
        content, at = path.read_bytes(), 0
        while at < len(content):
            (length,) = struct.unpack_from("<Q", content, at)
            event = Event.FromString(content[at + 12 : at + 12 + length])
            at += 12 + length + 4
            if event.session_log.status == SessionLog.START:
                found.append((event.step, "", event.step, 0.0))
            found += [(None, value.tag, event.step, value.simple_value) for value in event.summary.value]
    return found


@pytest.fixture
def active(tmp_path):
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.create_experiment("meme57")
    active = open_run(
        client, experiment, run_name="Pong-s1", pipeline="learn", parent_run_id=None, tags={}, parameters={}
    )
    active.tensorboard = TensorBoardFiles(tmp_path / "tensorboard")
    set_active_run(active)
    yield active
    set_active_run(None)


def test_names_steps_and_values_are_those_of_mlflow(active, tmp_path) -> None:
    curve = LearningCurveDataset(filepath=str(tmp_path / "curve.csv"))
    curve.save([{"frames": 100, "loss/total": 1.5, "episodes/return": float("nan")}])
    curve.save([{"frames": 200, "loss/total": 0.5, "episodes/return": -3.0}])
    runs.log_metrics(active, {"teacher/mean": 7.0}, step=150)
    active.close("FINISHED")
    written = events(tmp_path / "tensorboard")
    assert written == [
        (None, "loss/total", 100, 1.5),
        (None, "loss/total", 200, 0.5),
        (None, "episodes/return", 200, -3.0),
        (None, "teacher/mean", 150, 7.0),
    ]
    for name in ("loss/total", "episodes/return", "teacher/mean"):
        history = [(point.step, point.value) for point in active.client.get_metric_history(active.run_id, name)]
        assert history == [(step, value) for _, tag, step, value in written if tag == name]


def test_a_checkpoints_metrics_are_there_although_mlflow_had_them_first(active, tmp_path) -> None:
    (tmp_path / "checkpoint-000001").mkdir()
    (tmp_path / "checkpoint-000001" / "manifest.json").write_text("{}")
    dataset = CheckpointsDataset(filepath=str(tmp_path), upload=["manifest.json"])
    row = {"episodes/return": -3.0, "evaluation/return": 7.0}
    record = {"name": "checkpoint-000001", "folder": str(tmp_path / "checkpoint-000001"), "frames": 200, "updates": 9,
              "score": 7.0, "measure": "greedy episodes", "is_best": True, "metrics": row}  # fmt: skip
    dataset._track(record, tmp_path / "checkpoint-000001")
    LearningCurveDataset(filepath=str(tmp_path / "curve.csv")).save([{"frames": 200, **row, "speed": 3.0}])
    active.close("FINISHED")
    written = {(tag, step): value for _, tag, step, value in events(tmp_path / "tensorboard")}
    assert (
        written.items()
        >= {("episodes/return", 200): -3.0, ("evaluation/return", 200): 7.0, ("speed", 200): 3.0}.items()
    )
    assert len(written) == len(events(tmp_path / "tensorboard"))  # none twice


def test_what_a_resumed_run_measures_again_is_hidden_first(active, tmp_path) -> None:
    curve = LearningCurveDataset(filepath=str(tmp_path / "curve.csv"))
    curve.save([{"frames": frames, "loss/total": 1.0} for frames in (100, 200, 300)])
    active.close("KILLED")
    resumed = open_run(
        active.client, active.experiment_id, run_name="Pong-s1", pipeline="learn",
        parent_run_id=active.parent_run_id, tags={}, parameters={},
    )  # fmt: skip
    resumed.tensorboard = TensorBoardFiles(tmp_path / "tensorboard")
    set_active_run(resumed)
    curve.save([{"frames": 200, "loss/total": 1.0}])  # the checkpoint's row comes first again
    curve.save([{"frames": 300, "loss/total": 2.0}])
    resumed.close("FINISHED")
    written = [event[:3] for event in events(tmp_path / "tensorboard")]
    assert written[-2:] == [(201, "", 201), (None, "loss/total", 300)]
    assert (None, "loss/total", 200) in written[:-2]


def test_without_the_package_one_line_says_what_to_type(monkeypatch, tmp_path) -> None:
    real = builtins.__import__

    def without(name, *rest, **more):
        if name == "tensorboardX":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(TrackingError, match="needs the package tensorboardX: `pip install tensorboardX`, or set"):
        TensorBoardFiles(tmp_path)
