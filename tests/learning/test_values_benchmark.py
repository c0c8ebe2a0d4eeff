"""benchmarks/values.py: predicted and returned along greedy play, against a naive loop and on a real checkpoint."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from meme57.envs import env_spec
from meme57.learning.policies import Teacher
from meme57.learning.trainer import learn

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "values.py"
VALUES = runpy.run_path(str(SCRIPT), run_name="values")
GAMMA = 0.5  # five steps are enough: 0.5 ** 5 < 0.05


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, make_parameters) -> Path:
    folder = tmp_path_factory.mktemp("run") / "checkpoints"
    run = {"total_frames": 2_000, "checkpoint_period_frames": 2_000, "log_period_frames": 400}
    parameters = make_parameters(run=run, env={"game": "DeepSea5"})
    list(learn(parameters, env_spec(parameters.env), folder))
    return max(folder.glob("checkpoint-*"))


def test_returns_are_those_of_a_naive_loop() -> None:
    rng = np.random.default_rng(0)
    reward = rng.normal(size=(12, 2))
    ended, idle = np.zeros((12, 2), bool), np.zeros((12, 2), bool)
    ended[3, 0], idle[4, 0], ended[10, 1], idle[11, 1] = True, True, True, True
    reward[idle] = 0.0
    returns, whole = VALUES["discounted_returns"](VALUES["Play"](reward, reward, ended, idle), GAMMA)
    for env in range(2):
        for step in range(12):
            expected, weight, end = 0.0, 1.0, step
            while end < 12:
                expected, weight = expected + weight * reward[end, env], weight * GAMMA
                if ended[end, env]:
                    break
                end += 1
            assert returns[step, env] == pytest.approx(expected)
            assert whole[step, env] == (not idle[step, env] and (end < 12 or weight < 0.05))


def test_play_tells_ends_and_the_idle_steps_after_them(checkpoint) -> None:
    teacher = Teacher.load(checkpoint)
    played = VALUES["play"](teacher, policy=1, steps=40)
    assert played.predicted.shape == (40, 16)
    assert played.ended.any()
    np.testing.assert_array_equal(played.idle[1:], played.ended[:-1])  # each begins with the step after an end
    assert np.ptp(played.predicted) > 0


def test_the_command_prints_a_line_for_each_checkpoint(checkpoint) -> None:
    def run(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(SCRIPT), str(checkpoint), *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    done = run("--steps", "100")
    assert done.returncode == 0, done.stderr
    row = rf"\| {checkpoint.parents[1].name}/{checkpoint.name} \| (-?\d+\.\d+ \| ){{4}}(-?\d\.\d\d|nan) \|"
    assert re.fullmatch(row, done.stdout.splitlines()[2])
    for options, words in ((("--policy", "3"), "has policies 0 to 2"), (("--steps", "3"), "take more")):
        wrong = run(*options)
        assert wrong.returncode == 2
        assert words in wrong.stderr
