"""Every file that a run leaves, damaged or edited: who reads it goes on, or ends in one line with file and command."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kedro.framework.project import configure_project, pipelines
from kedro.framework.session import KedroSession
from kedro.io import DatasetError

from meme57.errors import CheckpointError, own_error
from meme57.hooks.one_line import OneLineError
from meme57.pipeline_registry import FLOW
from meme57.pipelines.report.nodes import make_plots, make_report
from meme57.pipelines.suite.member import read_note
from meme57.report.summary import summary_table
from test_fuzz import outcomes, spoilt

QUICK = {
    "distill": {"updates": 2, "fidelity_steps": 4},
    "evaluate": {"episodes": 2, "num_envs": 2, "video_seconds": 0.1},
}


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def numbers(value: Any) -> Callable[[Path], object]:
    """Puts `value` in the place of every number."""

    def changed(tree: Any) -> Any:
        if isinstance(tree, dict):
            return {key: changed(item) for key, item in tree.items()}
        if isinstance(tree, list):
            return [changed(item) for item in tree]
        return value if isinstance(tree, int | float) and not isinstance(tree, bool) else tree

    return lambda path: path.write_text(json.dumps(changed(json.loads(path.read_text())), indent=1) + "\n")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(random.Random(1).randbytes(999)),
    "UTF-16": lambda path: path.write_bytes(path.read_bytes().decode("latin-1").encode("utf-16")),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "a folder": folder,
}
OF_JSON: dict[str, Callable[[Path], object]] = {
    "a list": lambda path: path.write_text("[1, 2]"),
    "null": lambda path: path.write_text("null"),
    "text for numbers": numbers("x"),
    "huge": numbers(10**400),
    "infinite": numbers(float("inf")),
    "half a character": lambda path: path.write_text(path.read_text().replace('"', '"\\ud800', 1)),
}
FORGIVING = {
    "video": {"empty", "garbage", "UTF-16", "half"},
    "report": {"empty", "half"},
    "learning_curve": {"half"},
    "episodes": {"half"},
    "hardware": {"text for numbers", "huge"},
}
"""Damage that shows in the page alone; a table that was cut within a cell is shorter."""
ONLY_THERE = {"run_record"}
"""Read by code that has its own checks."""


@pytest.fixture
def catalog(copied):
    configure_project("meme57")
    with KedroSession.create(project_path=copied.folder, env="test") as session:
        return session.load_context().catalog


def loads(catalog: Any, name: str) -> bool:
    """Whether the dataset gives a value; else it is one line that names the file and a command."""
    try:
        catalog.load(name)
        return True
    except DatasetError as error:
        own = own_error(error)
        told = str(own)
    assert isinstance(own, CheckpointError), name
    path = catalog[name].path
    assert (path.name in told or path.parent.name in told, "`kedro run --pipelines " in told) == (True, True), told
    return False


def test_every_dataset_of_the_flow(catalog) -> None:
    pipelines.set_requested(None)
    names = sorted(set().union(*(pipelines[name].all_outputs() for name in FLOW)))
    refused = 0
    for name in names:
        path = getattr(catalog[name], "index_path", catalog[name].path)
        content, kinds = path.read_bytes(), DAMAGE | (OF_JSON if path.suffix == ".json" else {})
        for kind, damage in kinds.items():
            damage(path)
            if path.is_file() and path.read_bytes() == content:  # there is no number in it
                continue
            whole = loads(catalog, name)
            fine = kind in FORGIVING.get(name, ()) or (kind in OF_JSON and (name in ONLY_THERE or "plot" in name))
            assert not whole or fine, (name, kind)
            refused += not whole
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            path.write_bytes(content)
    assert refused > 120


@pytest.mark.parametrize(
    ("name", "count"), [("scores", 60), ("fidelity", 15), ("hardware", 15), ("model_versions", 15)]
)
def test_a_file_that_was_edited_is_refused_or_shown(catalog, name: str, count: int) -> None:
    """What the catalog lets through, the page and the summary can show."""
    facts = {
        key: catalog.load(key)
        for key in (
            "checkpoints",
            "scores",
            "learning_curve",
            "episodes",
            "fidelity",
            "video",
            "run_record",
            "hardware",
        )
    }
    versions, dataset = catalog.load("model_versions"), catalog[name]
    whole = json.loads(dataset.path.read_text())

    def use(chosen: random.Random) -> None:
        dataset.path.write_text(json.dumps(spoilt(whole, chosen)))
        try:
            edited = dataset.load()
        except DatasetError as error:
            raise own_error(error) or error from error
        shown = facts | ({name: edited} if name in facts else {})
        if name == "scores":
            make_plots(shown["learning_curve"], shown["episodes"], edited, report="")
        if name in facts:
            make_report(**shown)
        if name in ("scores", "model_versions"):
            summary_table(shown["scores"], edited if name == "model_versions" else versions)

    assert count / 10 < outcomes(count, name, use) < count


@pytest.mark.parametrize("part", ["scores", "curve"])
def test_a_members_note_that_was_edited_is_none(catalog, tmp_path: Path, part: str) -> None:
    """The member runs again, and no later node stumbles over what the note holds."""
    curve = [{"frames": 100.0, "episodes/return": 1.0, "episodes/finished": 2.0}]
    note = {"name": "Pong-s1", "state": "done", "scores": catalog.load("scores"), "curve": curve}
    path = tmp_path / "Pong-s1.json"
    path.write_text(json.dumps(note))
    assert read_note(path) == note
    for value in (None, "x", [1], {"a": "b"}, [{"frames": None}]):
        path.write_text(json.dumps(note | {part: value}))
        assert read_note(path) == {}


REFUSED = [
    ("02_intermediate/Pong-s1/run_record.json", "half", "report", None),
    ("06_models/Pong-s1/student/student.json", "huge", "evaluate", "distill"),
    ("06_models/Pong-s1/student/student.json", "null", "register", "distill"),
    ("06_models/Pong-s1/student/student.safetensors", "half", "evaluate", "distill"),
    ("08_reporting/Pong-s1/scores.json", "infinite", "register", "evaluate"),
]


@pytest.mark.parametrize(
    ("file", "kind", "pipeline", "maker"), REFUSED, ids=lambda value: str(value).rpartition("/")[2]
)
def test_a_pipeline_that_reads_it_is_one_line(copied, file: str, kind: str, pipeline: str, maker: str | None) -> None:
    path = copied.data / file
    (DAMAGE | OF_JSON)[kind](path)
    with pytest.raises(OneLineError) as caught:
        copied.run_here(pipeline, **QUICK)
    assert path.name in caught.value.message or path.with_suffix(".safetensors").name in caught.value.message
    assert f"`kedro run --p{f'ipelines {maker}`' if maker else 'arams'}" in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("kind", ["empty", "garbage", "UTF-16", "a folder"])
def test_learning_mends_its_own_files(copied, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    curve = copied.data / "08_reporting/Pong-s1/learning_curve.csv"
    index = copied.data / "06_models/Pong-s1/checkpoints/index.json"
    DAMAGE[kind](curve)
    if kind != "a folder":
        DAMAGE[kind](index)
    copied.run_here("learn")
    assert ("index.json is damaged" in caplog.text) == (kind != "a folder")
    copied.run_here("report")
    assert (copied.data / "08_reporting/Pong-s1/report.html").stat().st_size > 1_000


def test_on_the_terminal_it_is_one_line_and_a_status(copied) -> None:
    DAMAGE["UTF-16"](copied.data / "08_reporting/Pong-s1/learning_curve.csv")
    done = copied.kedro("--pipelines", "report")
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if " INFO " not in line]
    assert len(errors) == 1
    assert errors[0].startswith("Error: ")
    assert "learning_curve.csv is damaged" in errors[0]
    assert errors[0].endswith("`kedro run --pipelines learn` makes it")
