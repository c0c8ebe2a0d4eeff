"""What is nice to have and missing costs itself alone: a run without ONNX packages, without a film."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from meme57.export.policy_folder import open_policy

QUICK = ["distill.updates=2", "distill.fidelity_steps=4", "evaluate.episodes=2", "evaluate.num_envs=2"]
AFTER_LEARNING = "distill,evaluate,report,register"
BLOCKER = """
import importlib.machinery

BLOCKED = {"onnx", "onnxscript", "onnxruntime", "ray", "matplotlib"}
find = importlib.machinery.PathFinder.find_spec

def find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] in BLOCKED else find(name, path, target)

importlib.machinery.PathFinder.find_spec = find_spec
"""


@pytest.fixture
def bare(copied, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The project, in whose subprocesses no extra can be imported and ffmpeg is nowhere."""
    (tmp_path / "sitecustomize.py").write_text(BLOCKER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/nonexistent/ffmpeg")
    return copied


def meme57(project, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from meme57.cli import main; main()", *arguments],
        cwd=project.folder, env=project.environment(), capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_a_run_without_any_extra_and_without_ffmpeg_ends_well(bare) -> None:
    student, reporting = bare.data / "06_models/Pong-s1/student", bare.data / "08_reporting/Pong-s1"
    (reporting / "model_versions.json").unlink()
    assert (student / "student.onnx").is_file()
    done = bare.kedro("--pipelines", f"setup,{AFTER_LEARNING}", "--params", ",".join(QUICK))
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    told = [line for line in done.stderr.splitlines() if "WARNING" in line]
    onnx = [line for line in told if 'pip install "meme57[onnx]"' in line]
    film = [line for line in told if "IMAGEIO_FFMPEG_EXE" in line]
    # before anything begins, and where it would have been made: student, teacher, film
    assert (len(onnx), len(film), len(told)) == (3, 2, 5)
    assert done.stderr.index(onnx[0]) < done.stderr.index("distill_student")
    assert not (student / "student.onnx").exists()  # it was another student's
    assert json.loads((student / "record.json").read_text())["onnx"] is None
    fidelity = json.loads((reporting / "fidelity.json").read_text())
    assert fidelity["torch_step_ms"] > 0 < fidelity["multiply_adds_student"]
    assert not [name for name in fidelity if "onnx" in name]
    page = (reporting / "report.html").read_text()
    assert "<video" not in page
    assert "The student against its teacher" in page
    versions = json.loads((reporting / "model_versions.json").read_text())
    assert {agent: version["version"] for agent, version in versions.items()} == {"teacher": "1", "student": "1"}

    for command in (["play", "Pong-s1", "--agent", "student"], ["export", "Pong-s1"]):
        refused = meme57(bare, *command)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert 'pip install "meme57[onnx]"' in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
    filmed = meme57(bare, "play", "Pong-s1", "--video", "film.mp4")
    assert (filmed.returncode, len(filmed.stderr.splitlines())) == (1, 1)
    assert "IMAGEIO_FFMPEG_EXE" in filmed.stderr


@pytest.mark.parametrize("program", ["/bin/false", "/bin/true", "hangs", "reads and says nothing"])
def test_an_ffmpeg_that_does_not_work_costs_the_film_alone(
    copied, tmp_path: Path, program: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    scripts = {"hangs": "sleep 1000", "reads and says nothing": '[ "$1" = -version ] || cat > /dev/null'}
    if program in scripts:
        path = tmp_path / "ffmpeg"
        path.write_text(f"#!/bin/sh\n{scripts[program]}\n")
        path.chmod(0o755)
        program = str(path)
    monkeypatch.setattr("meme57.evaluation.video.PATIENCE_SECONDS", 1.0)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", program)
    few = {"distill": {"updates": 2, "fidelity_steps": 4}, "evaluate": {"episodes": 2, "num_envs": 2}}
    copied.run_here("distill", "evaluate", "report", **few)  # the project may have learned on since its student
    assert caplog.text.count("there is no film") == 1
    assert program in caplog.text
    assert "make room" not in caplog.text
    assert (copied.data / "07_model_output/Pong-s1/video.mp4").read_bytes() == b""
    assert "<video" not in (copied.data / "08_reporting/Pong-s1/report.html").read_text()


def test_an_onnx_file_that_cannot_be_made_costs_the_file_alone(
    copied, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("meme57.export.steps.TOLERANCE", -1.0)  # what the exporter makes is not the student
    copied.run_here("distill", distill={"updates": 2, "fidelity_steps": 4})
    student = copied.data / "06_models/Pong-s1/student"
    assert "student.onnx differs from PyTorch" in caplog.text
    assert not (student / "student.onnx").exists()
    with pytest.raises(Exception, match=r"student\.onnx is missing"):
        open_policy(student)
