"""Policies that come with meme57: a game's name is enough, anywhere; what is shipped is what its card says."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import meme57 as package
from meme57.api import find, pretrained
from meme57.errors import CheckpointError, RefusalError
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


def test_other_names_are_told_what_there_is(shipped: Path, meme57: Any) -> None:
    for name in ("Breakout", "Pnog"):
        output = meme57("play", name).output
        assert "no meme57 project" in output
        assert "a policy comes with Pong" in output


def test_any_spelling_and_any_folder_here_will_do(shipped: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run's name is a run's although a folder has it; of a game only a folder with a policy takes the name."""
    assert find.find_folder("ALE/Pong-v5").is_relative_to(shipped)
    Path("pong").mkdir()
    assert find.find_folder("pong").is_relative_to(shipped)
    (Path("pong") / "agent.json").write_text("{}")
    assert find.find_folder("pong") == Path("pong")
    monkeypatch.chdir(here / "data" / "06_models")
    assert (find.find_folder(RUN) / "agent.json").is_file()


def test_another_agent_than_the_folder_holds_is_refused(shipped: Path) -> None:
    for source in (str(shipped / "student"), shipped / "student"):
        assert package.load(source).agent == "student"
        with pytest.raises(RefusalError, match="is a student: leave out teacher"):
            package.load(source, agent="teacher")


def test_loading_leaves_the_program_as_it_was(shipped: Path) -> None:
    """Importing meme57 switches telemetry off, which is documented; a policy changes nothing more."""
    code = """
import logging, os, sys, meme57, torch
torch.manual_seed(1)
before = dict(os.environ), torch.get_rng_state().tolist(), logging.getLogger("mlflow.store.db.utils").level
meme57.load(sys.argv[1]), meme57.load(sys.argv[2])
assert before == (dict(os.environ), torch.get_rng_state().tolist(), logging.getLogger("mlflow.store.db.utils").level)
meme57.load("pong", agent="student")
assert before[0] == dict(os.environ)
"""
    folders = [str(shipped / agent) for agent in ("teacher", "student")]
    subprocess.run([sys.executable, "-c", code, *folders], check=True)


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
