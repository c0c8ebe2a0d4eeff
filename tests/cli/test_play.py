"""`meme57 play` on real Pong: what a run, a folder and a registered model play is what `evaluate` counted."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import imageio_ffmpeg
import numpy as np
import pytest
import torch

from meme57.cli.window import portable_pixmap
from meme57.learning.policies import Teacher

RUN = "Pong-s1"


def evaluated(here: Path, agent: str) -> list[float]:
    with (here / "data" / "07_model_output" / RUN / "episodes.csv").open() as stream:
        return [float(row["return"]) for row in csv.DictReader(stream) if row["agent"] == agent]


@pytest.mark.parametrize("agent", ["teacher", "student"])
def test_a_run_plays_the_episodes_that_were_evaluated(here: Path, meme57, agent: str) -> None:
    result = meme57("play", RUN, "--agent", agent, "--episodes", "4", "--json")
    found = json.loads(result.output)
    assert found["returns"] == evaluated(here, agent)
    assert found["runtime"] == {"teacher": "torch", "student": "onnxruntime"}[agent]
    scores = json.loads((here / "data" / "08_reporting" / RUN / "scores.json").read_text())
    assert found["protocol"] == scores["protocol"]["name"]


def test_the_student_needs_no_weights_of_pytorch(here: Path, meme57) -> None:
    """It plays through ONNX Runtime, not through a network that happens to be there."""
    folder = here / "data" / "06_models" / RUN / "student"
    (folder / "student.safetensors").unlink()
    result = meme57("play", str(folder), "--episodes", "4", "--json")
    assert json.loads(result.output)["returns"] == evaluated(here, "student")
    (folder / "student.onnx").write_bytes(b"no model")
    assert "student.onnx is damaged" in meme57("play", str(folder)).output


def test_registered_models_play_by_alias_and_version(here: Path, meme57) -> None:
    for address, agent in (("meme57-pong@challenger", "teacher"), ("meme57-pong-student/1", "student")):
        result = meme57("play", f"models:/{address}", "--episodes", "4", "--json")
        assert result.exit_code == 0, result.output
        found = json.loads(result.output)
        assert (found["agent"], found["returns"]) == (agent, evaluated(here, agent))
    unknown = meme57("play", "models:/meme57-breakout@champion")
    assert unknown.exit_code == 1
    assert "models:/meme57-breakout@champion cannot be read" in unknown.output
    for address in ("models:/meme57-pong", "models:/../x@champion", "models:/meme57-pong/1/../../x"):
        assert "is no address of a policy: type models:/NAME@champion" in meme57("play", address).output


def test_a_film_shows_the_whole_episode_and_the_same_score(here: Path, meme57) -> None:
    [checkpoint] = sorted((here / "data" / "06_models" / RUN / "checkpoints").glob("checkpoint-*"))[-1:]
    plain = json.loads(meme57("play", str(checkpoint), "--episodes", "2", "--json").output)
    filmed = meme57("play", str(checkpoint), "--video", "film.mp4", "--json")
    assert filmed.exit_code == 0, filmed.output
    found = json.loads(filmed.output)
    assert found["returns"] == plain["returns"][:1]
    frames, _ = imageio_ffmpeg.count_frames_and_secs("film.mp4")
    assert frames == found["length_steps"][0] + 1 == 151  # 600 emulator frames are 150 steps; and the first frame


def test_a_film_of_some_seconds_ends_there(here: Path, meme57) -> None:
    result = meme57("play", RUN, "--video", "short.mp4", "--seconds", "1")
    assert result.exit_code == 0, result.output
    assert "episode 1" not in result.output
    assert "15/15 pictures at most" in result.output
    numbers = meme57("play", RUN, "--seconds", "1")
    assert numbers.exit_code == 2
    assert "--seconds is for --video and --window" in numbers.output


def test_sticky_actions_change_protocol_and_play(here: Path, meme57) -> None:
    found = json.loads(meme57("play", RUN, "--episodes", "2", "--sticky", "0.25", "--noops", "0", "--json").output)
    assert found["protocol"].startswith("sticky0.25-noop0-")
    text = meme57("play", RUN, "--episodes", "2").output
    assert "episode 2  return" in text
    assert "cut by the frame limit" in text
    assert re.search(r"mean  -?[\d.]+ over 2 episodes, 95% interval -?[\d.]+ to -?[\d.]+", text)
    assert f"play {RUN}  100 %  2/2 episodes" in text


def test_random_actions_are_in_protocol_and_play(here: Path, meme57) -> None:
    greedy, drawn = (
        json.loads(meme57("play", RUN, "--episodes", "4", "--epsilon", epsilon, "--json").output)
        for epsilon in ("0", "1")
    )
    assert "-eps0-" in greedy["protocol"]
    assert "-eps1-" in drawn["protocol"]
    assert drawn["returns"] != greedy["returns"]
    assert drawn["interval"][0] <= drawn["mean"] <= drawn["interval"][1]


def test_a_run_without_checkpoint_or_student_says_what_to_type(here: Path, meme57) -> None:
    models = here / "data" / "06_models" / RUN
    shutil.rmtree(models / "student")
    assert "`kedro run --pipelines distill` makes it" in meme57("play", RUN, "--agent", "student").output
    assert "`kedro run --pipelines distill` makes it" in meme57("export", RUN).output
    shutil.rmtree(models / "checkpoints")
    assert "has no checkpoint yet" in meme57("play", RUN).output


def test_without_a_display_the_window_says_what_to_do(here: Path, meme57, monkeypatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    result = meme57("play", RUN, "--window")
    assert result.exit_code == 1
    assert "no window can be opened here" in result.output
    assert "--video FILE.mp4" in result.output


def test_frames_are_handed_to_the_window_as_pictures() -> None:
    colour = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
    assert portable_pixmap(colour) == b"P6 2 1 255\n\x01\x02\x03\x04\x05\x06"
    assert portable_pixmap(colour[..., 0]) == b"P5 2 1 255\n\x01\x04"


def test_export_writes_a_file_and_says_what_it_weighs(here: Path, meme57) -> None:
    result = meme57("export", RUN, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    fidelity = json.loads((here / "data" / "08_reporting" / RUN / "fidelity.json").read_text())
    assert Path("Pong-s1-student.onnx").stat().st_size == found["onnx_bytes"]
    assert found["onnx_difference"] <= 1e-4
    assert found["onnx_step_ms"] > 0
    assert found["multiply_adds_student"] == fidelity["multiply_adds_student"]
    assert found["multiply_adds_teacher"] == fidelity["multiply_adds_teacher"]
    text = meme57("export", RUN, "--output", "small.onnx").output
    assert "limit 1e-4" in text
    assert "% of the teacher's" in text
    assert torch.is_grad_enabled()


def test_export_runs_no_code_that_only_a_file_names(here: Path, meme57, monkeypatch) -> None:
    from meme57.learning.policies import Teacher

    own = SimpleNamespace(env=SimpleNamespace(gymnasium=SimpleNamespace(id="mine:Walk-v0", wrappers=())))
    monkeypatch.setattr(Teacher, "load", lambda *_, **__: own)
    result = meme57("export", RUN, "--agent", "teacher")
    assert result.exit_code == 1
    assert "names mine:Walk-v0, which is code that this command does not name" in result.output
    assert not Path(f"{RUN}-teacher.onnx").exists()


def test_export_writes_the_teacher_and_compares_an_episode(here: Path, meme57) -> None:
    result = meme57("export", RUN, "--agent", "teacher", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    fidelity = json.loads((here / "data" / "08_reporting" / RUN / "fidelity.json").read_text())
    assert Path("Pong-s1-teacher.onnx").stat().st_size == found["onnx_bytes"]
    assert found["onnx_difference"] <= 1e-3
    assert (found["episode_steps"], found["same_actions"]) == (150, 1.0)  # 600 frames
    assert found["multiply_adds_teacher"] == fidelity["multiply_adds_teacher"]
    assert found["multiply_adds_novelty"] == fidelity["multiply_adds_novelty"]


@pytest.mark.parametrize("command", [("play", RUN, "--episodes", "1"), ("export", RUN, "--agent", "teacher")])
def test_the_users_torso_reaches_the_policy(here: Path, meme57, monkeypatch, command: tuple[str, ...]) -> None:
    heard = []
    load = Teacher.load.__func__

    def listen(cls, folder: Path, *, torso: str | None = None) -> Teacher:
        heard.append(torso)
        return load(cls, folder, torso=torso)

    monkeypatch.setattr(Teacher, "load", classmethod(listen))
    assert meme57(*command, "--torso", "mine:Mine").exit_code == 0
    assert heard == ["mine:Mine"]
