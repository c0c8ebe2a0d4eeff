"""What is exported: one step of the student or of the teacher, with the names and the free axes of its inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from meme57.agent.parameters import NetworkSpec
from meme57.agent.student import StudentNetwork, StudentSpec
from meme57.export.teacher_step import CuriousTeacherStep, TeacherStep
from meme57.learning.policies import Teacher

INPUTS = ("frame", "action", "reward", "state")
OUTPUTS = ("logits", "next_state")
NOVELTY = ("memory", "distance", "steps")
"""What a teacher with novelty takes and gives in addition."""
TOLERANCE = 1e-4
TEACHER_TOLERANCE = 1e-3
"""Larger: an embedding halfway between two float16 numbers is rounded to one or the other."""
FREE_AXES = {"state": {1: "batch"}, "memory": {0: "batch", 1: "remembered"}}


@dataclass(frozen=True)
class Step:
    """One step of a policy that can be exported."""

    network: nn.Module
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    """What the policy prefers [B, A], then `next_` and the input that it becomes."""
    example: Callable[[int], tuple[Tensor, ...]]
    """Batch size -> random inputs."""
    tolerance: float
    """Largest difference from PyTorch of a file that is kept."""

    @property
    def free_axes(self) -> tuple[dict[int, str], ...]:
        """Of each input: axis -> the name of its size."""
        return tuple(FREE_AXES.get(name, {0: "batch"}) for name in self.inputs)


def step_of_student(network: StudentNetwork) -> Step:
    """Describe the student's step.

    Inputs: frame uint8 [B, H, W] (float32 for vectors), action int64 [B] (the previous one; A where there was none),
    reward float [B], state float [2, B, H]. Outputs: logits [B, A], next_state [2, B, H].
    """
    return Step(network.eval(), INPUTS, OUTPUTS, partial(_example, network.spec), TOLERANCE)


def step_of_teacher(teacher: Teacher) -> Step:
    """Describe the teacher's step: that of `CuriousTeacherStep`, or of `TeacherStep` where there is no novelty."""
    spec = teacher.network.spec
    names: tuple[str, ...] = INPUTS
    network, example = TeacherStep(teacher.network), partial(_example, spec)
    if teacher.novelty is not None:
        names += NOVELTY
        network, example = CuriousTeacherStep(teacher.network, teacher.novelty), partial(_example_with_memory, spec)
    outputs = ("preferences", *(f"next_{name}" for name in names[3:]))
    return Step(network.eval(), names, outputs, example, TEACHER_TOLERANCE)


def _example(spec: StudentSpec | NetworkSpec, batch: int) -> tuple[Tensor, ...]:
    """Draw frame, action, reward and state."""
    generator = torch.Generator().manual_seed(0)
    return (
        _random_frames(spec, batch, generator),
        torch.randint(0, spec.num_actions + 1, (batch,), generator=generator),
        torch.randn(batch, generator=generator),
        torch.randn(2, batch, spec.lstm_size, generator=generator),
    )


def _random_frames(spec: StudentSpec | NetworkSpec, batch: int, generator: torch.Generator) -> Tensor:
    size = (batch, spec.height, spec.width)
    if spec.frame_dtype == "uint8":
        return torch.randint(0, 256, size, generator=generator, dtype=torch.uint8)
    return torch.randn(size, generator=generator)


def _example_with_memory(spec: NetworkSpec, batch: int, remembered: int = 15) -> tuple[Tensor, ...]:
    """Draw what `NOVELTY` names, too; the rows are at different steps of their episodes."""
    generator = torch.Generator().manual_seed(1)
    memory = torch.randn(batch, remembered, spec.embedding_size, generator=generator)
    distance = torch.rand(batch, 2, generator=generator)
    return (*_example(spec, batch), memory, distance, 7 * torch.arange(batch) % (remembered + 1))
