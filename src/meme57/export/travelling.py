"""A policy's folder as an MLflow model that needs nothing of this project: its ONNX file, a loader, a card."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from meme57.errors import Meme57Error
from meme57.export.onnx import export_step, open_runtime
from meme57.export.pyfunc import load_policy
from meme57.export.steps import step_of_teacher
from meme57.learning.policies import Teacher
from meme57.learning.student_record import ONNX as STUDENT_ONNX

TEACHER_ONNX = "teacher.onnx"
REQUIREMENTS = ("onnxruntime>=1.20", "numpy>=2.0")
REQUIREMENTS_AT_HOME = ("meme57", "torch>=2.11", "safetensors", "numpy")

COST = "the registered policy needs meme57 where it is loaded"

Arrays = Mapping[str, np.ndarray[Any, Any]]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServedPolicy:
    """How MLflow loads a policy's folder, and what a step takes and gives."""

    loader_module: str
    code: tuple[Path, ...]
    """Files that go into the model; none where this project must be installed."""
    requirements: tuple[str, ...]
    first_step: Arrays
    """Of two episodes."""
    answer: Arrays


def serve_policy(folder: Path, *, torso: str | None = None) -> ServedPolicy:
    """Choose the loader: the ONNX file where there is one that works, else PyTorch with code of this project.

    Args:
        torso: as for `Teacher.load`.

    Raises:
        CheckpointError: what is there is damaged.
    """
    path = next((folder / name for name in (TEACHER_ONNX, STUDENT_ONNX) if (folder / name).is_file()), None)
    if path is not None:
        try:
            return _anywhere(path)
        except Meme57Error as error:
            log.warning("%s; %s", error, COST)
    return _at_home(folder, torso)


def _anywhere(path: Path) -> ServedPolicy:
    open_runtime(path)  # says what is wrong, before the loader meets it
    from meme57.export import meme57_policy_v1 as loader

    policy = loader.Policy(path)
    example = policy.start(2)
    name = loader.__name__.rpartition(".")[2]
    return ServedPolicy(name, (Path(loader.__file__),), REQUIREMENTS, example, policy.predict(example))


def _at_home(folder: Path, torso: str | None) -> ServedPolicy:
    policy = load_policy(folder, torso=torso)
    example = policy.example()
    return ServedPolicy("meme57.export.pyfunc", (), REQUIREMENTS_AT_HOME, example, policy.predict(example))


def export_teacher(folder: Path, *, torso: str | None = None) -> None:
    """Write `teacher.onnx` beside a teacher's weights; where it cannot, one warning says what that costs."""
    try:
        export_step(step_of_teacher(Teacher.load(folder, torso=torso)), folder / TEACHER_ONNX)
    except Meme57Error as error:
        log.warning("%s; %s", error, COST)
