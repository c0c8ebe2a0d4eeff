from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from meme57.datasets import LearningCurveDataset
from meme57.tracking.runs import ActiveRun, set_active_run


@pytest.fixture
def dataset(tmp_path: Path) -> LearningCurveDataset:
    return LearningCurveDataset(filepath=str(tmp_path / "curve.csv"))


def test_rows_are_appended_with_the_union_of_columns(dataset: LearningCurveDataset) -> None:
    dataset.save([{"frames": 100, "loss": 0.5}])
    dataset.save([{"frames": 200, "loss": None}, {"frames": 300, "loss": 0.25, "hns": float("nan")}])
    expected = pd.DataFrame({"frames": [100, 200, 300], "loss": [0.5, None, 0.25], "hns": [float("nan")] * 3})
    pd.testing.assert_frame_equal(dataset.load(), expected)


def test_rows_that_only_continue_are_appended_without_reading_the_rest(
    dataset: LearningCurveDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run of a billion frames has ten thousand rows: to read all of them for each one took hours."""
    dataset.save([{"frames": 100, "loss": 0.5, "return": None}])
    monkeypatch.setattr(dataset, "_read", lambda: pytest.fail("it was read"))
    dataset.save([{"frames": 200, "loss": 0.25}, {"frames": 300, "return": 1.0}])
    assert dataset.path.read_text() == "frames,loss,return\n100,0.5,\n200,0.25,\n300,,1.0\n"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([{"frames": 200, "new": 1}], "frames,loss,new\n100,0.5,\n200,,1\n"),
        ([{"frames": 100, "loss": 2}], "frames,loss\n100,2\n"),
    ],
)
def test_a_new_column_or_a_repeated_row_rewrites_the_file(dataset: LearningCurveDataset, rows, expected: str) -> None:
    dataset.save([{"frames": 100, "loss": 0.5}])
    dataset.save(rows)
    assert dataset.path.read_text() == expected


def test_a_curve_that_somebody_else_changed_is_read_again(dataset: LearningCurveDataset) -> None:
    dataset.save([{"frames": 100, "loss": 0.5}])
    dataset.path.write_text("frames,other\n50,7\n")
    dataset.save([{"frames": 200, "loss": 0.25}])
    assert dataset.path.read_text() == "frames,other,loss\n50,7,\n200,,0.25\n"
    dataset.path.unlink()
    dataset.save([{"frames": 300, "loss": 0.125}])
    assert dataset.path.read_text() == "frames,loss\n300,0.125\n"


def test_empty_list_means_unchanged(dataset: LearningCurveDataset) -> None:
    dataset.save([])
    assert not dataset.exists()
    dataset.save([{"frames": 100}])
    before = dataset.path.read_bytes()
    dataset.save([])
    assert dataset.path.read_bytes() == before


def test_a_resumed_run_goes_over_the_rows_after_its_checkpoint(dataset: LearningCurveDataset) -> None:
    dataset.save([{"frames": frames, "loss": 1.0} for frames in (100, 200, 300)])
    dataset.save([{"frames": 200, "loss": 2.0}])
    assert dataset.load().to_dict(orient="list") == {"frames": [100, 200], "loss": [1.0, 2.0]}


def test_numbers_survive_exactly(dataset: LearningCurveDataset) -> None:
    dataset.save([{"frames": 1, "x": 0.1 + 0.2}])
    dataset.save([{"frames": 2, "x": 1e-300}])
    assert dataset.load()["x"].tolist() == [0.1 + 0.2, 1e-300]


def test_rows_go_to_the_active_run_at_their_frames(dataset: LearningCurveDataset, active: ActiveRun) -> None:
    dataset.save([{"frames": 100, "loss": 0.5, "note": None}, {"frames": 200, "loss": 0.25}])
    active.metrics.flush()
    history = active.client.get_metric_history(active.run_id, "loss")
    assert [(metric.step, metric.value) for metric in history] == [(100, 0.5), (200, 0.25)]
    assert set(active.client.get_run(active.run_id).data.metrics) == {"loss"}


def test_what_a_repeated_row_has_beyond_the_first_goes_there_too(
    dataset: LearningCurveDataset, active: ActiveRun
) -> None:
    """A stop left out the evaluation of the last checkpoint, and the resumed run made it."""
    dataset.save([{"frames": 100, "loss": 0.5}])
    dataset.save([{"frames": 100, "loss": 0.5}])
    dataset.save([{"frames": 100, "loss": 0.5, "evaluation/return": 7.0}])
    active.metrics.flush()
    for name, value in (("loss", 0.5), ("evaluation/return", 7.0)):
        history = active.client.get_metric_history(active.run_id, name)
        assert [(metric.step, metric.value) for metric in history] == [(100, value)]
    assert dataset.load().to_dict(orient="list") == {"frames": [100], "loss": [0.5], "evaluation/return": [7.0]}


def _steps(active: ActiveRun, run_id: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in active.client.get_metric_history(run_id, "loss")]


def _lives(
    dataset: LearningCurveDataset, active: ActiveRun, rows: list[dict[str, float]], checkpoint: int
) -> ActiveRun:
    """Rows told one by one, a checkpoint with that of `checkpoint` frames, and then the process is gone."""
    life = ActiveRun(active.client, active.experiment_id, active.client.create_run(active.experiment_id).info.run_id,
                     active.parent_run_id)  # fmt: skip
    set_active_run(life)
    for row in rows:
        life.checkpointed_frames = max(life.checkpointed_frames, checkpoint if row["frames"] == checkpoint else -1)
        dataset.save([row])
    life.metrics.flush()
    return life


def test_the_parent_has_the_whole_curve_and_no_step_twice(dataset: LearningCurveDataset, active: ActiveRun) -> None:
    first = _lives(dataset, active, [{"frames": at, "loss": at / 10} for at in (100, 200, 300)], checkpoint=200)
    assert _steps(active, active.parent_run_id) == [(100, 10.0), (200, 20.0)]  # 300 may be learned otherwise
    second = _lives(dataset, active, [{"frames": at, "loss": at / 100} for at in (200, 310, 400)], checkpoint=400)
    assert _steps(active, first.run_id) == [(100, 10.0), (200, 20.0), (300, 30.0)]
    assert _steps(active, second.run_id) == [(310, 3.1), (400, 4.0)]
    assert _steps(active, active.parent_run_id) == [(100, 10.0), (200, 20.0), (310, 3.1), (400, 4.0)]
    _lives(dataset, active, [{"frames": 400, "loss": 4.0}], checkpoint=400)  # nothing was left to learn
    assert _steps(active, active.parent_run_id) == [(100, 10.0), (200, 20.0), (310, 3.1), (400, 4.0)]


def test_the_parent_gets_a_score_that_came_later_than_its_row(dataset: LearningCurveDataset, active: ActiveRun) -> None:
    row = {"frames": 200, "loss": 2.0}
    _lives(dataset, active, [{"frames": 100, "loss": 1.0, "evaluation/return": 5.0}, row], checkpoint=200)
    for _ in range(2):
        _lives(dataset, active, [{**row, "evaluation/return": 7.0}], checkpoint=200)
    assert _steps(active, active.parent_run_id) == [(100, 1.0), (200, 2.0)]
    for name in ("evaluation/return", "0 results/evaluation_return"):
        points = active.client.get_metric_history(active.parent_run_id, name)
        assert [(point.step, point.value) for point in points] == [(100, 5.0), (200, 7.0)], name


def test_a_store_that_was_away_gets_the_curve_with_the_next_checkpoint(
    dataset: LearningCurveDataset, active: ActiveRun, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def gone(*_: object, **__: object) -> None:
        raise ConnectionError("gone")

    with monkeypatch.context() as patch:
        for name in ("log_batch", "get_metric_history"):
            patch.setattr(active.client, name, gone)
        _lives(dataset, active, [{"frames": 100, "loss": 1.0}, {"frames": 200, "loss": 2.0}], checkpoint=200)
    assert "the learning curve waits for the MLflow store: gone" in caplog.text
    _lives(dataset, active, [{"frames": 200, "loss": 2.0}, {"frames": 300, "loss": 3.0}], checkpoint=300)
    assert _steps(active, active.parent_run_id) == [(100, 1.0), (200, 2.0), (300, 3.0)]


def test_preview_is_json(dataset: LearningCurveDataset) -> None:
    dataset.save([{"frames": 100, "loss": None}, {"frames": 200, "loss": 0.5}])
    assert dataset.preview(nrows=2)["data"] == [[100, None], [200, 0.5]]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "frames,loss\n100,1\nabc,2\n",
        "frames,loss\n100,x\n",
        "\xff\xfef\x00r\x00\n\x001\x00\n\x00",
        "other\n1\n",
        "only,a,wrong,header\n",
        "frames\n100,1,2\n",
        "frames\nnan\n",
        "\x00\xff",
    ],
)
def test_a_damaged_curve_is_set_aside_and_training_goes_on(
    dataset: LearningCurveDataset, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    dataset.path.write_text(content, encoding="latin-1")
    dataset.save([{"frames": 200, "loss": 2.0}])
    assert dataset.load().to_dict(orient="list") == {"frames": [200], "loss": [2.0]}
    if content:  # an empty file has no rows to lose
        assert dataset.path.with_name("damaged-curve.csv").read_text(encoding="latin-1") == content
        assert "renamed to damaged-curve.csv" in caplog.text


def test_a_row_that_was_cut_short_is_kept_as_far_as_it_goes(dataset: LearningCurveDataset) -> None:
    dataset.path.write_text("frames,loss,hns\n100,0.5,0.1\n200,0.")
    dataset.save([{"frames": 300, "loss": 2.0}])
    assert dataset.load()["frames"].tolist() == [100, 200, 300]
