"""benchmarks/ties.py: its table by hand, and rounding and gaps on a real checkpoint."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import torch

from meme57.agent.family import PolicyFamily
from meme57.envs import env_spec
from meme57.learning.policies import Teacher
from meme57.learning.trainer import learn

TIES = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "ties.py"), run_name="ties")


def test_cells_by_hand() -> None:
    exact = torch.tensor([[0.5, 0.25, 0.0], [8.0, 8.0, 4.0]], dtype=torch.float64)
    q = (exact + torch.tensor([[0.0, 0.0, 0.125], [-2.0, 2.0, 0.0]])).float()  # rounding 0.125 / 1 and 4 / 8
    equal = torch.tensor([[0.0, 0.0, 0.25], [8.0, 8.0, 8.0]])  # 0.25 / 1 and none
    median, _, largest, apart, *_, share = TIES["cells"](q, exact, equal)
    assert (median, largest, apart) == ("0.50", "5.0e-01", "2.5e-01")  # torch's median is the lower one
    assert share == "5.0e-01"  # the second state's best two are equal


def test_on_a_checkpoint_rounding_is_small_and_equal_actions_are_nearly_equal(tmp_path: Path, make_parameters) -> None:
    run = {"total_frames": 2_000, "checkpoint_period_frames": 2_000, "log_period_frames": 400}
    parameters = make_parameters(run=run)
    list(learn(parameters, env_spec(parameters.env), tmp_path / "checkpoints"))
    teacher = Teacher.load(max((tmp_path / "checkpoints").glob("checkpoint-*")))
    betas = PolicyFamily.ladder(**parameters.family.model_dump()).betas
    q, exact, equal = TIES["values"](teacher, betas)
    assert exact.dtype == torch.float64
    assert q.shape == exact.shape == equal.shape == (16 * 200, teacher.env.num_actions)
    np.testing.assert_allclose(q, exact, atol=1e-6)
    assert np.ptp(q.numpy(), axis=-1).max() > 1e-4
    assert np.ptp(equal.numpy(), axis=-1).max() < 1e-6
