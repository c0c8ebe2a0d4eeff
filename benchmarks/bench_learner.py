"""The learner: learned steps per second, compared with the machine's matrix products, and the cost of many policies.

    python benchmarks/bench_learner.py [--repetitions 8] [--json PATH]

An update is the whole `Learner.update` on a full batch: both forwards, backward, optimiser; novelty off, replay not
included. On a CPU the clock is the process's CPU time, on one thread. *share of peak* is the update's floating-point
operations per second, as torch counts them, divided by those of a 1,024 x 1,024 product of the same precision in the
same run. *library LSTM* is the same learner with oneDNN's LSTM instead of ours.
"""

from __future__ import annotations

import time
import unittest.mock
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from meme57.agent import network as network_module
from meme57.blueprint import agent_spec, find_device, make_replay
from meme57.config import Parameters, parse_parameters
from meme57.envs import env_spec
from meme57.learning.learner import Learner
from meme57.replay.chunks import SequenceBatch
from timing import command, in_turn, show, spread

ATARI = {"game": "Breakout", "full_action_space": True}
SETTINGS: dict[str, dict[str, Any]] = {
    "nature 8 x 40": {
        "env": {**ATARI, "height": 84, "width": 84},
        "network": {"torso": "nature"},
        "replay": {"period": 20},
        "learner": {"batch_size": 8},
    },
    "laptop 16 x 20": {
        "env": {**ATARI, "height": 52, "width": 52, "full_action_space": False},
        "family": {"num_policies": 4},
        "network": {"torso": "small", "lstm_size": 128, "head_size": 64, "feature_size": 64},
        "replay": {"period": 10},
        "learner": {"batch_size": 16},
    },
}
GPU_SETTING: dict[str, Any] = {"env": {**ATARI, "height": 84, "width": 84}, "learner": {"batch_size": 64}}


def parameters_of(setting: dict[str, Any], precision: str, **family: int) -> Parameters:
    """Return a setting's parameters, without novelty."""
    tree = {**setting, "novelty": {"enabled": False}}
    tree["learner"] = {**setting["learner"], "precision": precision}
    tree["family"] = {**setting.get("family", {}), **family}
    return parse_parameters(tree)


def full_batch(parameters: Parameters, seed: int = 0) -> SequenceBatch:
    """Fill a batch of the setting's sizes with random numbers, without padding."""
    env = env_spec(parameters.env)
    batch = make_replay(parameters, env).new_batch(parameters.learner.batch_size)
    rng = np.random.default_rng(seed)
    batch.frames[:] = rng.integers(0, 256, batch.frames.shape, dtype=np.uint8)
    batch.inputs.action[:] = rng.integers(env.num_actions, size=batch.inputs.action.shape)
    batch.inputs.embedding[:] = rng.normal(size=batch.inputs.embedding.shape)
    batch.actions[:] = rng.integers(env.num_actions, size=batch.actions.shape)
    batch.rewards[:] = rng.random(batch.rewards.shape) < 0.05
    batch.policies[:] = rng.integers(parameters.family.num_policies, size=batch.policies.shape)
    batch.lengths[:] = len(batch.mask)
    batch.mask[:], batch.importance[:], batch.mu[:] = True, 1.0, 0.5
    return batch


class Update:
    """One learner and its batch; calling it makes one update and waits for it."""

    def __init__(self, parameters: Parameters) -> None:
        spec = agent_spec(parameters, env_spec(parameters.env))
        self.learner = Learner(parameters, spec, device=find_device())
        self.batch = full_batch(parameters)
        self.num_steps = self.batch.mask.size
        self.num_weights = sum(p.numel() for p in self.learner.network.parameters())

    def __call__(self) -> None:
        self.learner.update(self.batch)

    def flops(self) -> float:
        """Count the floating-point operations of one update: not of the first, which also reads the agent's health."""
        self()
        with FlopCounterMode(display=False) as counter:
            self()
        return float(counter.get_total_flops())


@contextmanager
def library_lstm() -> Iterator[None]:
    """Use PyTorch's own LSTM everywhere."""

    def unroll(lstm: torch.nn.LSTM, inputs: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        outputs, (hidden, cell) = lstm(inputs, (state[0:1], state[1:2]))
        return outputs, torch.cat([hidden, cell]).float()

    with unittest.mock.patch.object(network_module, "unroll", unroll):
        yield


def product(precision: str, size: int = 1024) -> tuple[Callable[[], object], float]:
    """Return a matrix product on the learner's device, and its floating-point operations."""
    device, dtype = find_device(), getattr(torch, precision)
    size = size if device.type == "cpu" else 8 * size
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return lambda: torch.mm(a, b), 2.0 * size**3


def clock() -> float:
    """Return the CPU seconds of this process; with a GPU, wall seconds after its work is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def measure_setting(name: str, setting: dict[str, Any], precision: str, repetitions: int) -> dict[str, Any]:
    """Measure the speeds of one setting in one precision, all pieces in turn."""
    ours, single = Update(parameters_of(setting, precision)), Update(parameters_of(setting, precision, num_policies=1))
    with library_lstm():
        library = Update(parameters_of(setting, precision))
    multiply, multiply_flops = product(precision)

    def with_library() -> None:
        with library_lstm():
            library()

    flops = ours.flops()
    work: dict[str, Callable[[], object]] = {
        "ours": ours,
        "library": with_library,
        "one policy": single,
        "product": multiply,
    }
    times = in_turn(work, repetitions, clock=clock)
    peak = multiply_flops / times["product"]
    return {
        "setting": name,
        "precision": precision,
        "weights": ours.num_weights,
        "policies": ours.learner.scales["extrinsic"].std.numel(),
        "gflop": flops / 1e9,
        "steps_per_second": spread(ours.num_steps / times["ours"]),
        "peak_gflops": spread(peak / 1e9),
        "share_of_peak": spread(flops / times["ours"] / np.median(peak)),
        "over_library_lstm": spread(times["library"] / times["ours"]),
        "over_one_policy": spread(times["ours"] / times["one policy"]),
    }


def measure(repetitions: int) -> dict[str, Any]:
    """Measure all settings that this machine can run."""
    torch.set_num_threads(1)
    settings = {"gpu 64 x 160": GPU_SETTING} if torch.cuda.is_available() else SETTINGS
    precisions = ("bfloat16", "float32")
    rows = [measure_setting(name, s, p, repetitions) for name, s in settings.items() for p in precisions]
    return {"rows": rows}


def table(figures: dict[str, Any]) -> str:
    """Format the figures as Markdown."""
    lines = [
        "| setting | precision | weights | GFLOP an update | learned steps / s | share of peak "
        "| over library LSTM | N policies over 1 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in figures["rows"]:
        lines.append(
            f"| {row['setting']} | {row['precision']} | {row['weights'] / 1e6:.1f} M | {row['gflop']:.1f} "
            f"| {show(row['steps_per_second'], 0)} | {show(row['share_of_peak'])} "
            f"| {show(row['over_library_lstm'])} | N = {row['policies']}: {show(row['over_one_policy'])} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    command(__doc__, measure, table, repetitions=8)
