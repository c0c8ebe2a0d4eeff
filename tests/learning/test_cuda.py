"""What only a GPU can show: updates that wait for nothing, numbers like a CPU's, and the overlapped mode on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from meme57.blueprint import agent_spec
from meme57.envs import env_spec
from meme57.learning.learner import Learner
from meme57.learning.tensors import pin
from meme57.learning.trainer import learn

pytestmark = pytest.mark.cuda
CASE: dict[str, Any] = {"lengths": [6, 3, 6, 1], "terminal": [False, True, False, True], "seed": 5}


@pytest.fixture(name="learner", params=["float32", "bfloat16"])
def _learner(make_parameters, request) -> Learner:
    parameters = make_parameters(learner={"precision": request.param})
    return Learner(parameters, agent_spec(parameters, env_spec(parameters.env)), device="cuda")


def test_starting_an_update_waits_for_nothing(learner, make_batch) -> None:
    batch = pin(make_batch(**CASE))
    learner.update(batch)  # buffers and optimiser state exist from here on
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        pending = learner.start(learner.prepare(batch))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    priorities, metrics = learner.finish(pending)
    assert np.isfinite(priorities).all()
    assert learner.num_updates == 2
    assert metrics["loss/total"].isfinite()


@pytest.fixture(name="float32_products")
def _float32_products() -> Iterator[None]:
    """Without TF32, whose products have ten bits: cuDNN uses it by default (matrix products elsewhere do not)."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


def test_the_numbers_are_those_of_the_cpu(make_parameters, make_batch, float32_products) -> None:
    """Each update begins in the same state: Adam makes a step of any gradient, also of one that is rounding alone."""
    parameters = make_parameters()
    spec = agent_spec(parameters, env_spec(parameters.env))
    on_cpu, on_gpu = learners = [Learner(parameters, spec, device=device) for device in ("cpu", "cuda")]
    for seed in range(3):
        (priorities, metrics), (others, others_metrics) = (
            learner.update(make_batch(**{**CASE, "seed": seed})) for learner in learners
        )
        np.testing.assert_allclose(others, priorities, rtol=1e-3)
        torch.testing.assert_close(others_metrics["loss/total"].cpu(), metrics["loss/total"], rtol=1e-3, atol=0.0)
        gradients, others_gradients = (
            torch.cat([p.grad.cpu().flatten() for p in learner.network.parameters()]) for learner in learners
        )
        assert (others_gradients - gradients).norm() < 1e-3 * gradients.norm()
        on_gpu.load_tensors(on_cpu.tensors())


def test_a_bad_batch_is_dropped_on_the_device(learner, make_batch) -> None:
    learner.update(make_batch(**CASE))
    before = [p.detach().clone() for p in learner.network.parameters()]
    bad = make_batch(**CASE)
    bad.rewards[0, 0] = np.inf
    priorities, metrics = learner.update(bad)
    assert (priorities.tolist(), metrics, learner.num_skipped) == ([1.0] * 4, {}, 1)
    assert all(torch.equal(p, q) for p, q in zip(before, learner.network.parameters(), strict=True))


@pytest.mark.timeout(300)
def test_overlapped_training_runs_to_the_end(make_parameters, tmp_path) -> None:
    parameters = make_parameters(
        run={"total_frames": 2_400, "checkpoint_period_frames": 1_200, "log_period_frames": 400},
        learner={"mode": "overlapped"},
    )
    events = list(learn(parameters, env_spec(parameters.env), tmp_path))
    assert events[-1].frames >= 2_400
    assert events[-1].updates > 10
