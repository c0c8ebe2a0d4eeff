"""A doctor that notices."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib import import_module, metadata
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from meme57.cli import main
from meme57.errors import Meme57Error

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def doctor(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    return subprocess.run(
        [sys.executable, "-c", "from meme57.cli import main; main()", "doctor"],
        cwd=folder, env={**kept, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text("[tool.kedro]\n")
    (tmp_path / "conf" / "base").mkdir(parents=True)
    (tmp_path / "below" / "here").mkdir(parents=True)
    return tmp_path


def test_doctor_finds_this_machine_fit(project: Path) -> None:
    (project / "conf" / "base" / "mlflow.yml").write_text("server: {mlflow_tracking_uri: 'sqlite:///else/where.db'}\n")
    before = sorted(project.rglob("*"))
    done = doctor(project)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = {line[6:20].strip(): (line[:4].strip(), line[22:]) for line in done.stdout.splitlines()}
    assert {verdict for verdict, _ in lines.values()} == {"ok"}
    assert lines["torch"][1] == metadata.version("torch")
    assert lines["tracking store"][1] == f"sqlite:///{project}/else/where.db"
    assert lines["emulator"][1].startswith("Pong: ROM loads")
    assert "updates, a checkpoint in" in lines["self test"][1]
    assert {"device", "cores", "free disk", "python"} <= set(lines)
    assert lines["ROMs"][1] == "104 of 104"
    assert sorted(project.rglob("*")) == before  # it looks, it does not write


def test_doctor_names_what_is_wrong_and_fails(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "occupied").write_text("a file where a folder should be")
    monkeypatch.chdir(project / "below" / "here")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///occupied/mlflow.db")
    monkeypatch.setattr("meme57.cli.doctor.PACKAGES", ("numpy", "no-such-package"))
    monkeypatch.setattr("meme57.cli.doctor.LEAST_FREE_GIB", 1e9)
    monkeypatch.setattr("meme57.cli.doctor._self_test", lambda: "skipped here")
    result = run("doctor")
    assert result.exit_code == 1
    failed = [line for line in result.output.splitlines() if line.startswith("FAIL")]
    assert len(failed) == 3
    assert "no-such-package" in failed[0]
    assert "a run needs 1e+09 GiB" in failed[1]
    assert f"{project / 'occupied'} is no folder that can be written to" in failed[2]
    assert result.output.splitlines()[-1] == "Error: 3 of the checks failed"
    assert "Traceback" not in result.output
    rows = json.loads(run("doctor", "--json").stdout)
    assert [row["check"] for row in rows if row["verdict"] == "FAIL"] == [
        "no-such-package",
        "free disk",
        "tracking store",
    ]


def test_a_missing_or_changed_rom_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from ale_py import roms

    from meme57.envs.atari import missing_roms

    pong = roms.get_rom_path("pong")
    assert pong is not None
    (tmp_path / "pong.bin").write_bytes(pong.read_bytes())
    (tmp_path / "breakout.bin").write_bytes(b"no game")
    monkeypatch.setenv("ALE_ROMS_DIR", str(tmp_path))
    assert missing_roms(["pong", "breakout", "seaquest", "no_such_game"]) == ["breakout", "seaquest", "no_such_game"]


def test_doctor_compares_versions_with_what_meme57_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    module = import_module("meme57.cli.doctor")
    monkeypatch.setattr(module.metadata, "version", lambda package: "1.0")
    with pytest.raises(Meme57Error, match=r"1.0 is installed, meme57 needs .*>=2.11.*: `make setup` in a checkout"):
        module._required("torch")


@pytest.fixture
def presets(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project with two presets, and a doctor that checks nothing else."""
    shutil.copy(ROOT / "src" / "meme57" / "project_template" / "pyproject.toml", project)
    (project / "src").mkdir()
    for name, settings in {
        "small": "{extends: base, run: {total_frames: 2000}, env: {game: Corridor, height: 16, width: 16}}",
        "whole": "{extends: base, env: {game: Pong}}",
    }.items():
        (project / "conf" / name).mkdir()
        (project / "conf" / name / "parameters.yml").write_text(settings)
    monkeypatch.setattr("meme57.cli.doctor._checks", lambda: ())
    monkeypatch.chdir(project)
    return project


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_doctor_says_whether_a_preset_fits_and_how_long_it_takes(
    presets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def verdicts(preset: str) -> dict[str, tuple[str, str]]:
        rows = json.loads(run("doctor", "--env", preset, "--json").stdout)
        return {row["check"]: (row["verdict"], row["words"]) for row in rows}

    small = verdicts("small")
    assert list(small) == ["small: size", "small: time"]
    assert re.fullmatch(
        r"fits: Corridor-s1 needs about [\d.]+ GiB of memory, [\d.]+ GiB of disk", small["small: size"][1]
    )
    assert re.match(r"2,000 frames: the arithmetic alone takes about \d", small["small: time"][1])
    assert small["small: time"][1].endswith("no run of these settings has learned here yet")

    verdict, words = verdicts("whole")["whole: time"]
    assert verdict == "FAIL"
    assert "is made for a GPU, and there is none: its arithmetic alone takes at least" in words

    monkeypatch.setattr("meme57.learning.machine.free_memory", lambda: 2**20)
    verdict, words = verdicts("small")["small: size"]  # `whole` may fail by the disk of the machine first
    assert verdict == "FAIL"
    assert "GiB of memory" in words

    monkeypatch.setattr("meme57.tracking.duration.learning_seconds", lambda project, parameters: 540.0)
    assert verdicts("small")["small: time"] == (
        "ok",
        "2,000 frames: about 9 min of learning, as fast as such runs here",
    )


def test_doctor_refuses_a_preset_that_is_not_there(presets: Path) -> None:
    result = run("doctor", "--env", "smal")
    assert result.exit_code == 1
    assert result.output.startswith("Error: there is no environment 'smal' in ")
    assert result.output.count("\n") == 1


@pytest.mark.parametrize("text", ["env: [", "run: {seed: '${nope:X}'}"])
def test_doctor_says_in_one_line_that_a_preset_cannot_be_read(presets: Path, text: str) -> None:
    (presets / "conf" / "small" / "parameters.yml").write_text(f"extends: base\n{text}\n")
    result = run("doctor", "--env", "small")
    assert result.exit_code == 1
    assert result.output.startswith("Error: the parameters cannot be read: ")
    assert result.output.count("\n") == 1
