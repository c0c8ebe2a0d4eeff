"""Policies that come with meme57: a game's name is enough, anywhere; what is shipped is what its card says."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

import meme57 as package
from meme57.api import find, pretrained
from meme57.errors import CheckpointError
from meme57.files import checksum, read_json

ROOT = Path(__file__).parents[2]
RUN = "Pong-s1"
SHIPPED = pretrained.pretrained_games()


@pytest.fixture
def shipped(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The policy of the trained project as the only one that came with meme57; the working directory is no project."""
    folder = tmp_path / "pretrained"
    monkeypatch.setattr(pretrained, "FOLDER", folder)
    tool = runpy.run_path(str(ROOT / "experiments" / "five" / "ship.py"))
    tool["ship"](here, tool["run_note"](here, RUN) | {"commit": "abc1234"}, "kedro run --env test")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return folder / "Pong"


def test_a_games_name_plays_its_policy_and_makes_the_score_of_the_card(shipped: Path, meme57: Any) -> None:
    card = read_json(shipped / "card.json")
    for agent in ("teacher", "student"):
        episodes = card["agents"][agent]["episodes"]
        result = meme57("play", "pong", "--agent", agent, "--episodes", str(episodes), "--json")
        found = json.loads(result.output)
        assert (found["agent"], found["protocol"]) == (agent, card["protocol"])
        assert found["mean"] == pytest.approx(card["agents"][agent]["mean"])
    assert package.load("Pong").agent == "teacher"
    page = (shipped / "card.md").read_text()
    assert "meme57 play pong" in page
    assert "abc1234" in page


def test_without_the_teacher_the_student_plays(shipped: Path, meme57: Any) -> None:
    for path in (shipped / "teacher").iterdir():
        path.unlink()
    (shipped / "teacher").rmdir()
    assert json.loads(meme57("play", "pong", "--json").output)["agent"] == "student"
    result = meme57("play", "pong", "--agent", "teacher")
    assert result.exit_code == 1
    assert "the teacher of Pong is not installed" in result.output


@pytest.mark.parametrize("file", ["teacher/network.safetensors", "student/student.onnx"])
def test_a_damaged_file_is_one_line(shipped: Path, file: str) -> None:
    (shipped / file).write_bytes((shipped / file).read_bytes()[:-1] + b"x")
    with pytest.raises(CheckpointError, match=r"is damaged: install meme57 again"):
        pretrained.pretrained_folder("pong", file.split("/")[0])


def test_a_run_of_that_name_comes_first(shipped: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(here)
    for layer in ("02_intermediate", "06_models"):
        (here / "data" / layer / RUN).rename(here / "data" / layer / "pong")
    assert find.find_folder("pong").is_relative_to(here)
    assert find.find_folder("PONG").is_relative_to(shipped)


def test_other_names_are_told_as_before(shipped: Path, meme57: Any) -> None:
    assert "no meme57 project" in meme57("play", "Breakout").output
    assert "no meme57 project" in meme57("play", "Pnog").output


@pytest.mark.parametrize("game", SHIPPED)
def test_every_file_that_is_shipped_is_on_its_card(game: str) -> None:
    folder = pretrained.FOLDER / game
    card = read_json(folder / "card.json")
    assert card["files"] == {str(path.relative_to(folder)): checksum(path) for path in sorted(folder.glob("*/*"))}
    assert {"teacher/network.safetensors", "student/student.onnx"} <= set(card["files"])
    assert (folder / "card.md").is_file()


@pytest.mark.slow
@pytest.mark.timeout(2 * 3600)  # most of Breakout's games stand still until their limit
@pytest.mark.parametrize("agent", ["teacher", "student"])
@pytest.mark.parametrize("game", SHIPPED)
def test_every_shipped_policy_makes_the_score_of_its_card(game: str, agent: str, meme57: Any) -> None:
    card = read_json(pretrained.FOLDER / game / "card.json")["agents"][agent]
    result = meme57("play", game, "--agent", agent, "--episodes", str(card["episodes"]), "--json")
    low, high = card["interval"]
    assert low <= json.loads(result.output)["mean"] <= high  # another processor may round another action
