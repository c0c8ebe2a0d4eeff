"""`python -m meme57.learning`: JSON lines, one line for each fault, a polite stop that can be resumed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from meme57.learning.__main__ import main
from tiny_agent import TINY, changed

RUN = changed(
    TINY,
    run={"total_frames": 1_600, "checkpoint_period_frames": 800, "log_period_frames": 400, "name": "tiny"},
    replay={"samples_per_insert": 2.0},
    actors={"weights_period_steps": 10},
)


@pytest.fixture(name="config")
def _config(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(RUN))
    return path


def command(config: Path, folder: Path, *settings: str) -> list[str]:
    assignments = [part for setting in settings for part in ("--set", setting)]
    return [sys.executable, "-m", "meme57.learning", "--config", str(config), "--folder", str(folder), *assignments]


@pytest.mark.timeout(120)
def test_a_run_of_seconds_writes_json_lines(config, tmp_path) -> None:
    done = subprocess.run(
        command(config, tmp_path / "runs", "loss.lambda=0.9"), check=False, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["frames"] // 400 for row in rows] == [1, 2, 3, 4]
    assert rows[-1]["updates"] > 5
    assert "Traceback" not in done.stderr
    assert all(line.startswith("tiny  ") for line in done.stderr.splitlines())
    assert len(list((tmp_path / "runs" / "tiny").glob("checkpoint-*"))) == 2


@pytest.mark.timeout(120)
def test_a_run_begins_with_the_weights_of_another(config, tmp_path, monkeypatch, capsys) -> None:
    line = command(config, tmp_path / "runs")[2:]
    monkeypatch.setattr(sys, "argv", line)
    assert main() == 0
    source = max((tmp_path / "runs" / "tiny").glob("checkpoint-*"))
    monkeypatch.setattr(sys, "argv", [*line, "--set", "run.name=warm", "--set", f"run.init_from={source}"])
    assert main() == 0
    kept = tmp_path / "runs" / "warm" / "initial_policy" / "network.safetensors"
    assert kept.read_bytes() == (source / "network.safetensors").read_bytes()
    newest = max((tmp_path / "runs" / "warm").glob("checkpoint-*"))
    mean = load_file(newest / "network.safetensors")["frames.mean"]
    assert mean.equal(load_file(kept)["frames.mean"])
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", [*line, "--set", "run.name=cold", "--set", "run.init_from=nowhere"])
    assert main() == 1
    assert "run.init_from=nowhere is no teacher" in capsys.readouterr().err


@pytest.mark.timeout(120)
def test_a_signal_ends_in_a_checkpoint_and_the_same_command_goes_on(config, tmp_path, monkeypatch, capsys) -> None:
    line = command(config, tmp_path / "runs", "run.total_frames=40000", "run.checkpoint_period_frames=40000")
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "the same command resumes from there" in err.splitlines()[-1]
    checkpoints = sorted(tmp_path.glob("runs/tiny/checkpoint-*"))
    assert len(checkpoints) == 1
    frames = json.loads((checkpoints[0] / "manifest.json").read_text())["frames"]
    assert first["frames"] <= frames < 40_000
    assert json.loads(out.splitlines()[-1])["frames"] == frames
    monkeypatch.setattr(sys, "argv", [*line[2:], "--set", f"run.total_frames={frames + 400}"])
    assert main() == 0
    rows = [json.loads(row) for row in capsys.readouterr().out.splitlines()]
    assert [row["frames"] > frames for row in rows] == [False, *[True] * (len(rows) - 1)]
    assert rows[0] == json.loads(out.splitlines()[-1])  # the row of the checkpoint, once more
    assert rows[-1]["frames"] >= frames + 400


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "env.gaem=Pong"], "unknown parameter env.gaem: did you mean env.game?"),
        (["--set", "env.game=Pongg"], "env.game='Pongg' is not a known game: did you mean Pong"),
        (["--set", "learner.batch_size=0"], "learner.batch_size=0 is not possible"),
        (["--set", "learner.batch_size"], "--set 'learner.batch_size' has no value: write --set group.name=value"),
        (["--set", "env=3", "--set", "env.game=Pong"], "env"),
        (["--config", "{tmp}/missing.json"], "missing.json"),
        (["--config", "{tmp}/broken.json"], "broken.json"),
        (["--config", "{tmp}/list.json"], "list.json is not a JSON object"),
    ],
    ids=str,
)
def test_each_fault_is_one_line_and_exit_1(tmp_path, monkeypatch, capsys, arguments, message) -> None:
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "list.json").write_text("[1]")
    words = [word.format(tmp=tmp_path) for word in arguments]
    monkeypatch.setattr(sys, "argv", ["meme57.learning", "--folder", str(tmp_path / "runs"), *words])
    assert main() == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("error: ")
    assert message in err
    assert not (tmp_path / "runs").exists()


def test_fresh_starts_anew(tmp_path, monkeypatch, capsys, config) -> None:
    def run(*settings: str) -> tuple[int, list[dict[str, float]]]:
        monkeypatch.setattr(sys, "argv", command(config, tmp_path / "runs", *settings)[2:])
        status = main()
        return status, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    status, rows = run()
    assert status == 0
    assert run() == (0, rows[-1:])  # finished
    for settings in (["run.fresh=true"], ["run.fresh=true", "learner.learning_rate=0.01"]):
        status, rows = run(*settings)
        assert status == 0
        assert rows[0]["frames"] < 800


@pytest.mark.timeout(120)
def test_rows_that_nobody_takes_are_a_polite_stop(config, tmp_path) -> None:
    """`python -m meme57.learning | head -1`: the rows are the product, so the run stops, after a checkpoint."""
    line = command(config, tmp_path / "runs", "run.total_frames=400000", "run.checkpoint_period_frames=400000")
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    first = json.loads(process.stdout.readline())
    process.stdout.close()
    err = process.stderr.read()
    assert process.wait(60) == 130, err
    assert err.count("rows cannot be written any more (Broken pipe): stopping at the next checkpoint") == 1
    assert "Traceback" not in err
    [checkpoint] = tmp_path.glob("runs/tiny/checkpoint-*")
    assert json.loads((checkpoint / "manifest.json").read_text())["frames"] > first["frames"]


@pytest.mark.timeout(120)
def test_a_full_disk_under_the_rows_is_no_success(config, tmp_path) -> None:
    line = command(config, tmp_path / "runs", "run.total_frames=400", "run.checkpoint_period_frames=400")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1  # it had ended when the only row was lost
    assert "(No space left on device)" in done.stderr
    assert len(list(tmp_path.glob("runs/tiny/checkpoint-*"))) == 1
