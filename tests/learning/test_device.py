"""What is said of the device, and the least time on a CPU."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from meme57.agent.cost import teacher_step
from meme57.agent.network import MemeNetwork
from meme57.blueprint import agent_spec
from meme57.config import parse_parameters
from meme57.envs import env_spec
from meme57.learning.device import DAY, describe_device, least_days_on_cpu, measured_speed
from meme57.pipelines.setup.nodes import estimate_resources

TINY = {
    "env": {"game": "Corridor", "height": 16, "width": 16},
    "network": {"torso": "small", "lstm_size": 16, "head_size": 16, "feature_size": 16},
    "family": {"num_policies": 2},
}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_cpu_says_why() -> None:
    assert describe_device().startswith(f"cpu (no CUDA device; torch {torch.__version__} has ")


def test_the_least_time_grows_with_frames_and_draws_and_falls_with_speed() -> None:
    def days(frames: int, draws: float, speed: float) -> float:
        tree = {**TINY, "run": {"total_frames": frames}, "replay": {"samples_per_insert": draws}}
        parameters = parse_parameters(tree)
        return least_days_on_cpu(parameters, env_spec(parameters.env), multiply_adds_a_second=speed)

    base = days(1_000, 6.0, 1e9)
    assert days(3_000, 6.0, 1e9) == pytest.approx(3 * base)
    assert days(1_000, 6.0, 2e9) == pytest.approx(base / 2)
    # six draws more: 6 x 2 sequences x (1 pass of the target + 3 of the online network) = 48 passes a step
    parameters = parse_parameters(TINY)
    spec = env_spec(parameters.env)
    one_pass = teacher_step(MemeNetwork(agent_spec(parameters, spec).network))
    more = 1_000 / spec.frame_skip * 48 * one_pass / 1e9 / DAY
    assert days(1_000, 12.0, 1e9) - base == pytest.approx(more)


def test_this_cpu_multiplies() -> None:
    threads = torch.get_num_threads()
    assert measured_speed(1) > 1e8
    assert torch.get_num_threads() == threads
    assert DAY == 24 * 60 * 60


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_run_for_a_gpu_warns_where_there_is_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    whole = {"env": {"game": "Pong"}, "run": {"check_resources": False}}  # the defaults: the paper's agent
    estimate_resources(whole, {"project": str(tmp_path)})
    assert "is made for a GPU, and there is none: its arithmetic alone takes at least " in caplog.text
    caplog.clear()
    estimate_resources({**TINY, "run": {"total_frames": 10_000}}, {"project": str(tmp_path)})
    assert "GPU" not in caplog.text
