"""Open a folder with a policy: a checkpoint, a distilled student, or a registered model's data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from meme57.agent.student import StudentSpec
from meme57.checkpoints.manifest import AGENT
from meme57.envs import EnvSpec
from meme57.errors import CheckpointError, EnvironmentSetupError
from meme57.export.onnx_policy import OnnxStudent
from meme57.files import checked, read_json
from meme57.learning.policies import STUDENT_ENV, STUDENT_SPEC, Policy, Teacher
from meme57.learning.student_record import ONNX, check_folder


@dataclass(frozen=True)
class PlayablePolicy:
    """A policy and the game that it learned."""

    agent: str
    """teacher or student"""
    env: EnvSpec
    make: Callable[[int], Policy]
    """Number of environments -> policy."""
    temperature: float
    """At which it draws its actions; 0: it takes the best ones."""


def holds_policy(folder: Path) -> bool:
    """Say whether the folder holds a teacher or a student, whole or not."""
    return (folder / AGENT).is_file() or (folder / STUDENT_SPEC).is_file()


def open_policy(folder: Path, *, torso: str | None = None) -> PlayablePolicy:
    """Open the teacher of a checkpoint folder, with its weights checked, or a student, which uses ONNX Runtime.

    Args:
        torso: as for `Teacher.load`.

    Raises:
        CheckpointError: there is no policy in the folder, or it is damaged.
        Meme57Error: onnxruntime is missing, or the ONNX file is damaged.
    """
    if (folder / AGENT).is_file():
        teacher = Teacher.load(folder, torso=torso)
        return PlayablePolicy("teacher", teacher.env, teacher.player, teacher.temperature)
    if (folder / STUDENT_SPEC).is_file():
        if not (folder / STUDENT_ENV).is_file():
            raise CheckpointError(
                f"{folder / STUDENT_ENV} is missing: `kedro run --pipelines distill` makes the student again"
            )
        env, path = _student_env(folder), folder / ONNX
        OnnxStudent(path, 1).check_fits(env)  # an error in it should appear before a game starts
        check_folder(folder)
        spec = checked(StudentSpec, read_json(folder / STUDENT_SPEC), folder / STUDENT_SPEC)
        make = partial(OnnxStudent, path, temperature=spec.temperature / spec.distilled_at)
        return PlayablePolicy("student", env, make, spec.temperature)
    raise CheckpointError(f"{folder} contains no policy: give a checkpoint-000123 folder, or a student folder")


def _student_env(folder: Path) -> EnvSpec:
    try:
        return EnvSpec.from_json(read_json(folder / STUDENT_ENV))
    except EnvironmentSetupError as error:
        raise CheckpointError(
            f"{folder / STUDENT_ENV} is damaged ({error.__cause__}): `kedro run --pipelines distill` makes it again"
        ) from error
