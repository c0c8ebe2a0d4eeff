"""On what a run learns, and how long at least that takes where there is no accelerator."""

from __future__ import annotations

import time

import torch

from meme57.agent.cost import novelty_step, teacher_step
from meme57.agent.network import MemeNetwork
from meme57.agent.novelty import NoveltyNetworks
from meme57.blueprint import agent_spec
from meme57.config import Parameters
from meme57.envs import EnvSpec

SIZE = 512
MEASURED_SECONDS = 0.2
DAY = 86_400.0
LONG_DAYS = 1.0
"""A run whose arithmetic alone takes longer on the CPU is made for a GPU."""


def describe_device() -> str:
    """Describe the device that learns, and why it is the CPU: `cpu (no CUDA device; torch 2.13.0+cpu has no CUDA)`."""
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        return f"{torch.cuda.get_device_name()} ({memory:.0f} GiB; torch {torch.__version__})"
    has = "has no CUDA" if torch.version.cuda is None else f"has CUDA {torch.version.cuda}"
    return f"cpu (no CUDA device; torch {torch.__version__} {has})"


def least_days_on_cpu(parameters: Parameters, env: EnvSpec, *, multiply_adds_a_second: float | None = None) -> float:
    """Compute the days that the run's arithmetic alone takes on the CPU, as fast as matrices are multiplied here.

    Acting is one pass of the networks a step. Each step is drawn `replay.samples_per_insert` times in each of its two
    sequences; each draw is one pass of the target network, and one pass of the online one with its gradient, which
    costs two more. Real runs take longer: small layers, the emulator and the replay are slower than a matrix product.

    Args:
        multiply_adds_a_second: measured here by default, with `learner.torch_threads` threads.
    """
    spec = agent_spec(parameters, env)
    network, novelty = MemeNetwork(spec.network), NoveltyNetworks(spec.novelty)
    one_pass = teacher_step(network)
    acting = one_pass + (novelty_step(novelty) if parameters.novelty.enabled else 0)
    passes = (1 + 3) * 2 * parameters.replay.samples_per_insert
    steps = parameters.run.total_frames / env.frame_skip
    speed = multiply_adds_a_second or measured_speed(parameters.learner.torch_threads)
    return steps * (acting + passes * one_pass) / speed / DAY


def too_long_on_cpu(parameters: Parameters, env: EnvSpec) -> str | None:
    """Say in one line that the run is made for a GPU, with what to do without one; None if a CPU is enough for it."""
    days = least_days_on_cpu(parameters, env)
    if days <= LONG_DAYS:
        return None
    return (
        f"run {parameters.run_name} is made for a GPU, and there is none: its arithmetic alone takes at least "
        f"{days:.1f} days on this CPU; conf/laptop has a smaller agent, run.total_frames a shorter run"
    )


def measured_speed(threads: int) -> float:
    """Measure the multiply-adds a second of this CPU in a matrix product of float32."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        matrix = torch.ones(SIZE, SIZE)
        matrix @ matrix  # the first one also starts the library
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < MEASURED_SECONDS:
            matrix @ matrix
            count += 1
        return float(count * SIZE**3 / (time.perf_counter() - start))
    finally:
        torch.set_num_threads(before)
