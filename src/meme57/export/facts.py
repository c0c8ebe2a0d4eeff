"""Facts about an exported student: difference from PyTorch, size, time per step, multiply-adds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import torch

from meme57.agent.cost import novelty_step, student_step, teacher_step
from meme57.agent.student import StudentNetwork
from meme57.export.onnx import INPUTS, example_inputs, parity, run_step
from meme57.export.onnx_policy import open_session
from meme57.learning.policies import Teacher

WARM_UP_STEPS = 20
TIMED_STEPS = 200


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


def student_facts(network: StudentNetwork) -> StudentFacts:
    """Measure the student in PyTorch."""
    return StudentFacts(torch_step_ms=_torch_step_ms(network), multiply_adds_student=student_step(network))


def export_facts(network: StudentNetwork, path: Path) -> ExportFacts:
    """Measure the file `path`, which was exported from `network`."""
    return ExportFacts(
        onnx_difference=parity(network, path),
        onnx_bytes=path.stat().st_size,
        onnx_step_ms=_onnx_step_ms(network, path),
        **asdict(student_facts(network)),
    )


def teacher_multiply_adds(teacher: Teacher) -> tuple[int, int]:
    """Count the multiply-adds of one acting step: of the network, and of the novelty networks behind its inputs."""
    novelty = 0 if teacher.novelty is None else novelty_step(teacher.novelty)
    return teacher_step(teacher.network), novelty


def _onnx_step_ms(network: StudentNetwork, path: Path) -> float:
    session = open_session(path)
    inputs = {name: value.numpy() for name, value in zip(INPUTS, example_inputs(network, 1), strict=True)}
    return _median_ms(lambda: run_step(session, inputs))


@torch.inference_mode()
def _torch_step_ms(network: StudentNetwork) -> float:
    inputs = example_inputs(network, 1)
    return _median_ms(lambda: network(*inputs))


def _median_ms(step: Callable[[], object]) -> float:
    times = []
    for _ in range(WARM_UP_STEPS + TIMED_STEPS):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return 1e3 * median(times[WARM_UP_STEPS:])
