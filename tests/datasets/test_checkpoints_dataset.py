from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kedro.io import DatasetError

from meme57.checkpoints.store import CheckpointStore
from meme57.datasets import CheckpointsDataset
from meme57.datasets.checkpoints import CheckpointRecord
from meme57.errors import CheckpointError
from meme57.files import read_json, write_json
from meme57.tracking.runs import ActiveRun


@pytest.fixture
def dataset(tmp_path: Path) -> CheckpointsDataset:
    return CheckpointsDataset(filepath=str(tmp_path / "checkpoints"), upload=["manifest.json"])


def _made(dataset: CheckpointsDataset, frames: int, score: float | None = None, **more: object) -> CheckpointRecord:
    folder = dataset.path / f"frames-{frames}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_text("{}")
    (folder / "replay.zst").write_bytes(b"large")
    record = {"name": folder.name, "folder": str(folder), "frames": frames, "updates": frames // 10, "score": score}
    return {**record, **more}  # type: ignore[typeddict-item,return-value]


def test_newest_and_best(dataset: CheckpointsDataset) -> None:
    assert not dataset.exists()
    dataset.save(_made(dataset, 100, 1.0))
    assert dataset.load()["best"]["name"] == "frames-100"  # the only one
    dataset.save(_made(dataset, 200, 5.0, is_best=True))
    dataset.save(_made(dataset, 300, 2.0))
    index = dataset.load()
    assert (index["newest"]["name"], index["best"]["name"]) == ("frames-300", "frames-200")
    assert index["best"]["folder"] == str(dataset.path / "frames-200")
    assert index["best"]["score"] == 5.0
    assert [record["frames"] for record in index["checkpoints"]] == [100, 200, 300]


def test_empty_record_means_unchanged(dataset: CheckpointsDataset) -> None:
    dataset.save({})
    assert not dataset.exists()
    dataset.save(_made(dataset, 100))
    before = dataset.index_path.read_bytes()
    dataset.save({})
    assert dataset.index_path.read_bytes() == before


def test_index_moves_with_its_folder(dataset: CheckpointsDataset, tmp_path: Path) -> None:
    dataset.save(_made(dataset, 100))
    dataset.path.rename(tmp_path / "moved")
    moved = CheckpointsDataset(filepath=str(tmp_path / "moved"), upload=["manifest.json"])
    assert moved.load()["newest"]["folder"] == str(tmp_path / "moved" / "frames-100")


def test_folders_that_were_removed_leave_the_index(dataset: CheckpointsDataset) -> None:
    for frames in (100, 200):
        dataset.save(_made(dataset, frames))
    shutil.rmtree(dataset.path / "frames-100")  # keep_checkpoints: the best so far goes too
    dataset.save(_made(dataset, 300))
    index = dataset.load()
    assert [record["frames"] for record in index["checkpoints"]] == [200, 300]
    assert index["best"]["name"] == "frames-300"


def test_without_the_best_one_the_best_of_the_others_is_it(dataset: CheckpointsDataset) -> None:
    """A person removed a damaged one, as its error says; the resumed run repeats the record of its newest."""
    for frames, score in ((100, 9.0), (200, 5.0), (300, 1.0)):
        dataset.save(_made(dataset, frames, score, is_best=frames == 100))
    shutil.rmtree(dataset.path / "frames-100")
    dataset.save({"name": "frames-300", "folder": str(dataset.path / "frames-300"), "frames": 300, "score": 1.0})
    assert dataset.load()["best"]["name"] == "frames-200"


def test_falling_back_drops_the_later_ones(dataset: CheckpointsDataset) -> None:
    for frames in (100, 200, 300):
        dataset.save(_made(dataset, frames))
    dataset.save(_made(dataset, 150))
    assert [record["frames"] for record in dataset.load()["checkpoints"]] == [100, 150]


def test_score_that_is_not_a_number_is_none(dataset: CheckpointsDataset) -> None:
    dataset.save(_made(dataset, 100, float("nan"), metrics={"loss": float("nan")}))
    assert read_json(dataset.index_path)["checkpoints"][0] == {
        "name": "frames-100",
        "folder": "frames-100",
        "frames": 100,
        "updates": 10,
        "score": None,
    }


def test_missing_checkpoints_say_what_to_run(dataset: CheckpointsDataset) -> None:
    with pytest.raises(DatasetError, match="kedro run --pipelines learn") as info:
        dataset.load()
    assert isinstance(info.value.__cause__, CheckpointError)


def test_best_that_is_gone_is_an_error(dataset: CheckpointsDataset) -> None:
    dataset.save(_made(dataset, 100))
    dataset.save(_made(dataset, 200))
    shutil.rmtree(dataset.path / "frames-100")
    with pytest.raises(DatasetError, match="best checkpoint frames-100 is gone"):
        dataset.load()


def test_folder_elsewhere_is_refused(dataset: CheckpointsDataset, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is not a checkpoint folder"):
        dataset.save({"name": "x", "folder": str(tmp_path), "frames": 1, "updates": 1})


def test_saved_checkpoint_is_a_logged_model_of_the_active_run(dataset: CheckpointsDataset, active: ActiveRun) -> None:
    dataset.save(_made(dataset, 100, 1.5, metrics={"hns": 0.5}))
    [output] = active.client.get_run(active.run_id).outputs.model_outputs
    model = active.client.get_logged_model(output.model_id)
    assert (output.step, model.name) == (100, "frames-100")
    assert {metric.key: metric.value for metric in model.metrics} == {"score": 1.5, "updates": 10.0, "hns": 0.5}
    dataset.save(_made(dataset, 100, 1.5))  # a resumed run tells of its checkpoint once more
    assert len(active.client.get_run(active.run_id).outputs.model_outputs) == 1


def test_a_checkpoint_that_lacks_a_file_is_not_in_mlflow_and_training_goes_on(
    dataset: CheckpointsDataset, active: ActiveRun, caplog: pytest.LogCaptureFixture
) -> None:
    dataset.upload = ["manifest.json", "absent.safetensors"]
    with caplog.at_level(logging.WARNING):
        dataset.save(_made(dataset, 100))
    assert "frames-100 is not in MLflow" in caplog.text
    assert "has no absent.safetensors" in caplog.text
    assert active.client.get_run(active.run_id).outputs.model_outputs == []
    assert dataset.load()["newest"]["name"] == "frames-100"


@pytest.mark.parametrize(
    "change",
    [
        lambda index: [],
        lambda index: {**index, "checkpoints": 5},
        lambda index: {**index, "newest": None},
        lambda index: {**index, "checkpoints": [{**index["checkpoints"][0], "folder": "../elsewhere"}]},
        lambda index: {**index, "checkpoints": [{**index["checkpoints"][0], "frames": "many"}]},
    ],
)
def test_a_damaged_index_is_refused_and_the_next_checkpoint_mends_it(
    dataset: CheckpointsDataset, change: Callable[[dict[str, Any]], Any], caplog: pytest.LogCaptureFixture
) -> None:
    store = CheckpointStore(dataset.path, fingerprint="abc", configuration={}, keep=3)
    for frames, score in ((100, 5.0), (200, 1.0)):
        record = store.save(tensors={}, state={}, description={}, frames=frames, updates=1, score=score)
        dataset.save({**vars(record), "folder": str(record.folder)})  # type: ignore[typeddict-item]
    write_json(dataset.index_path, change(read_json(dataset.index_path)))
    with pytest.raises(DatasetError, match=r"index\.json is damaged") as info:
        dataset.load()
    assert isinstance(info.value.__cause__, CheckpointError)
    record = store.save(tensors={}, state={}, description={}, frames=300, updates=1, score=2.0)
    dataset.save({**vars(record), "folder": str(record.folder)})  # type: ignore[typeddict-item]
    assert "rebuilt from the manifests" in caplog.text
    index = dataset.load()
    assert (index["newest"]["frames"], index["best"]["frames"], len(index["checkpoints"])) == (300, 100, 3)


def test_a_store_that_fails_in_any_way_never_stops_training(
    dataset: CheckpointsDataset, active: ActiveRun, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def gone(*_: object, **__: object) -> None:
        raise ConnectionResetError("the server\nwent away")

    monkeypatch.setattr("meme57.tracking.checkpoints.log_checkpoint", gone)
    dataset.save(_made(dataset, 100))
    assert "frames-100 is not in MLflow: the server went away" in caplog.text
    assert dataset.load()["newest"]["name"] == "frames-100"


def test_an_index_that_is_made_anew_compares_like_with_like(dataset: CheckpointsDataset) -> None:
    store = CheckpointStore(dataset.path, fingerprint="abc", configuration={}, keep=4)
    for frames, score, measure in ((100, 9.0, "training returns"), (200, 2.0, "greedy"), (300, 1.0, "greedy")):
        record = store.save(
            tensors={}, state={}, description={}, frames=frames, updates=1, score=score, measure=measure
        )
        if frames == 300:
            write_json(dataset.index_path, [])
        dataset.save({**vars(record), "folder": str(record.folder)})  # type: ignore[typeddict-item]
    index = dataset.load()
    assert (index["best"]["frames"], [entry["frames"] for entry in index["checkpoints"]]) == (200, [100, 200, 300])
