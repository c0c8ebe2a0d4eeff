"""The MLflow loader of policies without an ONNX file, and of versions that older releases registered.

`predict({frame, previous inputs, state}) -> {action, state}` through PyTorch, from data files alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from meme57.agent.inputs import ACTION, INPUTS, Kind
from meme57.agent.network import Features
from meme57.agent.torso import FrameSpec, zero_frames
from meme57.errors import Meme57Error
from meme57.learning.policies import STUDENT_WEIGHTS, Teacher, load_student

Arrays = dict[str, npt.NDArray[Any]]


class TeacherModel:
    """Plays one step of the exploiting policy.

    Inputs: frame uint8 [B, H, W] (float32 for vectors); the previous step's action int64 (A if there was none),
    reward, intrinsic, lifelong and episodic float32 [B]; embedding float32 [B, E]; state float32 [B, 2, H]. At an
    episode's start all are zero except `action`. Outputs: action int64 [B], state [B, 2, H].
    """

    def __init__(self, teacher: Teacher) -> None:
        self._teacher = teacher

    @torch.inference_mode()
    def predict(self, model_input: Mapping[str, Any], params: dict[str, Any] | None = None) -> Arrays:
        """Play one step; the class docstring lists inputs and outputs."""
        frame, state = _frame(model_input, self._teacher.network.spec), _tensor(model_input, "state", np.float32)
        features = Features(*(_tensor(model_input, name, _served(kind)) for name, kind in INPUTS.items()))
        policies = torch.zeros(len(frame), dtype=torch.long)
        teacher = self._teacher
        preferences, following = teacher.network.act(frame, features, state.transpose(0, 1), policies)
        return {"action": preferences.argmax(-1).numpy(), "state": following.transpose(0, 1).numpy()}

    def example(self) -> Arrays:
        """Return inputs of the first step of two episodes."""
        spec = self._teacher.network.spec
        inputs = {name: np.zeros(kind.shape((2,), spec.embedding_size), _served(kind)) for name, kind in INPUTS.items()}
        return {
            "frame": zero_frames(spec, 2).numpy(),
            **inputs,
            "action": np.full(2, spec.num_actions, np.int64),
            "state": np.zeros((2, 2, spec.lstm_size), np.float32),
        }


def _served(kind: Kind) -> type[np.generic]:
    """Return the type of an input: whole numbers, or float32."""
    return np.int64 if kind == ACTION else np.float32


class StudentModel:
    """Plays one step of the student.

    Inputs: frame uint8 [B, H, W] (float32 for vectors), action int64 [B] and reward float32 [B] of the previous step,
    state float32 [B, 2, H]. Outputs: action int64 [B], state [B, 2, H].
    """

    def __init__(self, folder: Path) -> None:
        self._network = load_student(folder)

    @torch.inference_mode()
    def predict(self, model_input: Mapping[str, Any], params: dict[str, Any] | None = None) -> Arrays:
        """Play one step; the class docstring lists inputs and outputs."""
        logits, state = self._network(
            _frame(model_input, self._network.spec),
            _tensor(model_input, "action", np.int64),
            _tensor(model_input, "reward", np.float32),
            _tensor(model_input, "state", np.float32).transpose(0, 1),
        )
        return {"action": logits.argmax(-1).numpy(), "state": state.transpose(0, 1).numpy()}

    def example(self) -> Arrays:
        """Return inputs of the first step of two episodes."""
        spec = self._network.spec
        return {
            "frame": zero_frames(spec, 2).numpy(),
            "action": np.full(2, spec.num_actions, np.int64),
            "reward": np.zeros(2, np.float32),
            "state": np.zeros((2, 2, spec.lstm_size), np.float32),
        }


def load_policy(folder: Path, *, torso: str | None = None) -> TeacherModel | StudentModel:
    """Load the policy of a checkpoint's weights, or a student, from its folder; `torso` as for `Teacher.load`."""
    if (folder / STUDENT_WEIGHTS).is_file():
        return StudentModel(folder)
    return TeacherModel(Teacher.load(folder, torso=torso))


def _load_pyfunc(data_path: str) -> TeacherModel | StudentModel:
    """Load the policy for MLflow, which calls this function."""
    return load_policy(Path(data_path))


def _frame(model_input: Mapping[str, Any], spec: FrameSpec) -> torch.Tensor:
    return _tensor(model_input, "frame", spec.frame_dtype)


def _tensor(model_input: Mapping[str, Any], name: str, dtype: Any) -> torch.Tensor:
    if name not in model_input:
        raise Meme57Error(f"the input {name!r} is missing: see the model's signature")
    return torch.from_numpy(np.ascontiguousarray(model_input[name], dtype=dtype))
