"""Facts about an exported policy: difference from PyTorch, size, time per step, multiply-adds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import TypeVar

import numpy as np
import torch

from meme57.agent.cost import novelty_step, student_step, teacher_step
from meme57.agent.student import StudentNetwork
from meme57.envs import make_env
from meme57.export.onnx import open_runtime, parity, run_step
from meme57.export.onnx_policy import open_session
from meme57.export.steps import Step, step_of_student, step_of_teacher
from meme57.learning.policies import Teacher
from meme57.seeds import EVALUATION_SEED

Result = TypeVar("Result")

WARM_UP_STEPS = 20
TIMED_STEPS = 200
LONGEST_EPISODE = 2_000
"""Steps; a teacher is not compared for longer."""


@dataclass(frozen=True)
class StudentFacts:
    """Costs of one student with one environment on one CPU thread."""

    torch_step_ms: float
    multiply_adds_student: int


@dataclass(frozen=True)
class ExportFacts(StudentFacts):
    """The same costs, and those of its ONNX file."""

    onnx_difference: float
    """The largest difference from PyTorch on one random step, logits and states."""
    onnx_bytes: int
    onnx_step_ms: float
    """Median time of one step through ONNX Runtime."""


@dataclass(frozen=True)
class TeacherFacts:
    """Of a teacher's ONNX file, beside the live teacher, over a whole episode of greedy play."""

    onnx_difference: float
    """The largest difference from PyTorch of what the actions are chosen by."""
    episode_steps: int
    same_actions: float
    """Share of the steps."""
    onnx_bytes: int
    onnx_step_ms: float
    """Median time of one step of the episode, as it is served."""
    torch_step_ms: float
    """The same of the live teacher, what it does after each step of the game included."""
    multiply_adds_teacher: int
    multiply_adds_novelty: int


def student_facts(network: StudentNetwork) -> StudentFacts:
    """Measure the student in PyTorch."""
    return StudentFacts(torch_step_ms=_torch_step_ms(network), multiply_adds_student=student_step(network))


def export_facts(network: StudentNetwork, path: Path) -> ExportFacts:
    """Measure the file `path`, which was exported from `network`."""
    step = step_of_student(network)
    return ExportFacts(
        onnx_difference=parity(step, path),
        onnx_bytes=path.stat().st_size,
        onnx_step_ms=_onnx_step_ms(step, path),
        **asdict(student_facts(network)),
    )


def teacher_facts(teacher: Teacher, path: Path) -> TeacherFacts:
    """Measure the file `path`, which was exported from `teacher`: both play the same episode.

    The live teacher's actions are taken. The file gets what a stranger would send: frame and reward, the rest as it
    was answered.
    """
    session, live, step = open_runtime(path), teacher.player(1), step_of_teacher(teacher)
    start = dict(zip(step.inputs, (np.zeros_like(value.numpy()) for value in step.example(1)), strict=True))
    carried = {name: start[name] for name in step.inputs[3:]}
    env = make_env(teacher.env, num_envs=1)
    differences: list[float] = []
    agreements: list[bool] = []
    onnx_ms: list[float] = []
    torch_ms: list[float] = []
    try:
        observation = env.reset(seed=EVALUATION_SEED)
        live.begin(observation)
        action, reward = np.array([teacher.env.num_actions]), np.zeros(1, np.float32)
        while len(differences) < LONGEST_EPISODE:
            feed = {"frame": observation, "action": action, "reward": reward, **carried}
            (found, *following), served_ms = _timed(partial(run_step, session, feed))
            carried = dict(zip(carried, following, strict=True))
            preferences, live_ms = _timed(live.preferences)
            action = preferences.argmax(-1).cpu().numpy()
            differences.append(float(np.abs(found - preferences.cpu().numpy()).max()))
            agreements.append(bool(found.argmax(-1) == action))
            result = env.step(action)
            observing_ms = _timed(partial(live.observe, action, result))[1]
            observation, reward = result.observation, result.reward
            onnx_ms.append(served_ms)
            torch_ms.append(live_ms + observing_ms)
            if (result.terminated | result.truncated).any():
                break
    finally:
        env.close()
    network, novelty = teacher_multiply_adds(teacher)
    return TeacherFacts(
        onnx_difference=max(differences),
        episode_steps=len(differences),
        same_actions=mean(agreements),
        onnx_bytes=path.stat().st_size,
        onnx_step_ms=median(onnx_ms),
        torch_step_ms=median(torch_ms),
        multiply_adds_teacher=network,
        multiply_adds_novelty=novelty,
    )


def teacher_multiply_adds(teacher: Teacher) -> tuple[int, int]:
    """Count the multiply-adds of one acting step: of the network, and of the novelty networks behind its inputs."""
    novelty = 0 if teacher.novelty is None else novelty_step(teacher.novelty)
    return teacher_step(teacher.network), novelty


def _onnx_step_ms(step: Step, path: Path) -> float:
    session = open_session(path)
    inputs = {name: value.numpy() for name, value in zip(step.inputs, step.example(1), strict=True)}
    return _median_ms(lambda: run_step(session, inputs))


@torch.inference_mode()
def _torch_step_ms(network: StudentNetwork) -> float:
    inputs = step_of_student(network).example(1)
    return _median_ms(lambda: network(*inputs))


def _median_ms(step: Callable[[], object]) -> float:
    times = [_timed(step)[1] for _ in range(WARM_UP_STEPS + TIMED_STEPS)]
    return median(times[WARM_UP_STEPS:])


def _timed(step: Callable[[], Result]) -> tuple[Result, float]:
    """Time a call: its result, and milliseconds."""
    start = time.perf_counter()
    result = step()
    return result, 1e3 * (time.perf_counter() - start)
