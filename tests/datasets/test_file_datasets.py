from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from kedro.io import DatasetError

from meme57.datasets import FileDataset, FolderDataset, JsonDataset, PlotDataset, TableDataset, TextDataset


def test_json_round_trip(tmp_path: Path) -> None:
    dataset = JsonDataset(filepath=str(tmp_path / "a" / "x.json"))
    assert not dataset.exists()
    dataset.save({"b": 1, "a": [None, 0.5]})
    assert dataset.exists()
    assert dataset.load() == {"b": 1, "a": [None, 0.5]}
    assert json.loads(dataset.preview()) == dataset.load()


def test_a_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    dataset = JsonDataset(filepath=str(tmp_path / "x.json"))
    dataset.save({"a": 1})
    with pytest.raises(DatasetError):
        dataset.save({"a": float("nan")})
    assert dataset.load() == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_text_round_trip(tmp_path: Path) -> None:
    dataset = TextDataset(filepath=str(tmp_path / "report.html"))
    dataset.save("<p>γ</p>")
    assert dataset.load() == "<p>γ</p>"


def test_table_round_trip_and_preview(tmp_path: Path) -> None:
    dataset = TableDataset(filepath=str(tmp_path / "episodes.csv"))
    table = pd.DataFrame({"game": ["Pong", "Pong"], "return": [1.5, np.nan]})
    dataset.save(table)
    pd.testing.assert_frame_equal(dataset.load(), table)
    assert dataset.preview(nrows=2)["data"] == [["Pong", 1.5], ["Pong", None]]


def test_a_name_may_be_one_that_pandas_takes_for_no_value(tmp_path: Path) -> None:
    """A suite's variant called `None` made its finished results "damaged"."""
    dataset = TableDataset(filepath=str(tmp_path / "results.csv"), columns={"variant": "str"})
    dataset.save(pd.DataFrame({"variant": ["None", "NA", "nan", "null"], "return": [1.0, np.nan, 2.0, 3.0]}))
    table = dataset.load()
    assert list(table["variant"]) == ["None", "NA", "nan", "null"]
    assert np.isnan(table["return"][1])


def test_an_optional_file_that_is_missing_is_read_as_empty_and_does_not_exist(tmp_path: Path) -> None:
    """Else `kedro run --only-missing-outputs` leaves out the node that makes it."""
    dataset = JsonDataset(filepath=str(tmp_path / "student.json"), optional=True)
    assert not dataset.exists()
    assert dataset.load() == {}


def test_table_without_rows_keeps_its_columns(tmp_path: Path) -> None:
    dataset = TableDataset(filepath=str(tmp_path / "episodes.csv"))
    dataset.save(pd.DataFrame({"game": [], "return": []}))
    assert list(dataset.load().columns) == ["game", "return"]


def test_plot_round_trip(tmp_path: Path) -> None:
    dataset = PlotDataset(filepath=str(tmp_path / "plot.json"))
    dataset.save(go.Figure(go.Scatter(y=[1, 2])))
    assert tuple(dataset.load().data[0].y) == (1, 2)
    assert dataset.preview()["data"][0]["y"] == [1, 2]


def test_file_takes_bytes_or_a_path(tmp_path: Path) -> None:
    dataset = FileDataset(filepath=str(tmp_path / "out" / "video.mp4"))
    with pytest.raises(DatasetError, match="is missing"):
        dataset.load()
    dataset.save(b"first")
    assert dataset.load().read_bytes() == b"first"
    source = tmp_path / "made.mp4"
    source.write_bytes(b"second")
    dataset.save(source)
    assert dataset.load().read_bytes() == b"second"
    dataset.save(dataset.load())  # written in place by the node
    assert dataset.load().read_bytes() == b"second"


def test_folder_is_made_when_asked_for(tmp_path: Path) -> None:
    dataset = FolderDataset(filepath=str(tmp_path / "a" / "b"))
    assert dataset.load().is_dir()
    with pytest.raises(DatasetError, match="return a record"):
        dataset.save(tmp_path)
