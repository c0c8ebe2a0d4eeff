"""A real SIGKILL on a real game: resumed to N equals uninterrupted to N, in weights, priorities and metrics."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from meme57.blueprint import make_replay
from meme57.config import parse_parameters
from meme57.envs import env_spec
from meme57.learning.trainer import learn
from meme57.replay import load_snapshot
from tiny_agent import TINY, changed

PONG = changed(
    TINY,
    run={"total_frames": 4_800, "checkpoint_period_frames": 1_600, "log_period_frames": 400, "name": "pong",
         "exact_resume": True},
    env={"game": "Pong", "num_envs": 2, "height": 36, "width": 36, "max_episode_frames": 500},
    bandit={"scope": "shared"},
    replay={"samples_per_insert": 4.0},
    actors={"weights_period_steps": 10},
)  # fmt: skip
SEED = 20_221


def start(folder: Path) -> subprocess.Popen[str]:
    config = folder.parent / "pong.json"
    config.write_text(json.dumps(PONG))
    line = [sys.executable, "-m", "meme57.learning", "--config", str(config), "--folder", str(folder)]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(folder: Path) -> list[dict[str, float]]:
    """The same run to its end, in this process."""
    parameters = parse_parameters(PONG)
    events = learn(parameters, env_spec(parameters.env), folder / "pong")
    return [comparable(row) for event in events for row in event.rows]


def comparable(row: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in row.items() if not name.startswith(("speed/", "elapsed"))}


def rows_of(text: str) -> list[dict[str, float]]:
    whole = [line for line in text.splitlines() if line.endswith("}")]  # the last one may be cut short
    return [comparable(json.loads(line)) for line in whole]


def contents(folder: Path) -> dict[str, Any]:
    """Tensors of the newest checkpoint, priorities and chunks of its replay."""
    newest = max((folder / "pong").glob("checkpoint-*"))
    tensors = {
        f"{file.stem}.{key}": value for file in newest.glob("*.safetensors") for key, value in load_file(file).items()
    }
    parameters = parse_parameters(PONG)
    replay = make_replay(parameters, env_spec(parameters.env))
    load_snapshot(replay, folder / "pong" / "replay", json.loads((newest / "state.json").read_text())["replay"])
    tables = {f"replay.{name}": torch.from_numpy(array.copy()) for name, array in replay.contents()[0].items()}
    return {"name": newest.name, **tensors, **tables}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[list[dict[str, float]], dict[str, Any]]:
    folder = tmp_path_factory.mktemp("whole") / "runs"
    return finish(folder), contents(folder)


def at_a_random_moment(process: subprocess.Popen[str], folder: Path) -> None:
    chosen = random.Random(SEED)
    assert process.stdout is not None
    for _ in range(chosen.randint(4, 8)):  # after the first checkpoint of three
        read.append(process.stdout.readline())
    time.sleep(chosen.uniform(0.0, 0.2))


def while_a_checkpoint_is_written(process: subprocess.Popen[str], folder: Path) -> None:
    until = time.monotonic() + 60
    while not (folder / "pong" / ".checkpoint-000002.tmp").exists():
        time.sleep(0.0005)
        assert time.monotonic() < until
        assert process.poll() is None


read: list[str] = []


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "moment", [at_a_random_moment, pytest.param(while_a_checkpoint_is_written, marks=pytest.mark.slow)]
)
def test_sigkill_and_resume_equals_uninterrupted(whole, tmp_path, moment: Callable[..., None]) -> None:
    folder = tmp_path / "runs"
    read.clear()
    process = start(folder)
    moment(process, folder)
    process.kill()
    out, _ = process.communicate(timeout=30)
    assert process.returncode == -9
    before = rows_of("".join(read) + out)
    left = sorted((folder / "pong").glob("checkpoint-*"))
    assert 1 <= len(left) < 4
    at = json.loads((left[-1] / "manifest.json").read_text())["frames"]
    after = finish(folder)
    expected_rows, expected = whole
    assert after[0]["frames"] == at
    assert [row for row in before if row["frames"] < at] + after == expected_rows
    got = contents(folder)
    assert got.keys() == expected.keys()
    assert got["name"] == expected["name"]
    different = [name for name, value in got.items() if name != "name" and not torch.equal(value, expected[name])]
    assert different == []
    assert not list((folder / "pong").glob(".*"))
