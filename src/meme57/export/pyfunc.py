"""The MLflow loader of policies without an ONNX file, and of versions that older releases registered.

`predict` takes and gives what the ONNX file's loader does (`meme57_policy_v1`), through PyTorch, from data files alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from meme57.agent.inputs import ACTION, INPUTS
from meme57.agent.network import Features
from meme57.errors import Meme57Error
from meme57.export.steps import Step, step_of_student, step_of_teacher
from meme57.learning.policies import STUDENT_WEIGHTS, Teacher, load_student

Arrays = dict[str, npt.NDArray[Any]]
OLDER = "intrinsic"
"""An input of teachers of older releases, which had to be given the novelty that they had earned."""


class StepModel:
    """Plays one greedy step of a student, or of a teacher, which computes its own novelty.

    The inputs are those of `Step`, but the first axis of each is B: state is float32 [B, 2, H]. The answer holds the
    action [B] and every input of the next step but frame and reward.
    """

    def __init__(self, step: Step, num_actions: int) -> None:
        self._step, self._num_actions = step, num_actions
        self._types = [tensor.numpy().dtype for tensor in step.example(1)]

    @torch.inference_mode()
    def predict(self, model_input: Mapping[str, Any], params: dict[str, Any] | None = None) -> Arrays:
        """Play one step; the class docstring lists inputs and outputs."""
        feed = [_tensor(model_input, name, dtype) for name, dtype in zip(self._step.inputs, self._types, strict=True)]
        preferences, *following = self._step.network(*_as_stepped(self._step.inputs, feed))
        names = [name.removeprefix("next_") for name in self._step.outputs[1:]]
        answer = dict(zip(names, _as_stepped(names, following), strict=True))
        return {name: value.numpy() for name, value in {"action": preferences.argmax(-1), **answer}.items()}

    def example(self) -> Arrays:
        """Return inputs of the first step of two episodes: black frames, no action yet, zeros."""
        example = _as_stepped(self._step.inputs, self._step.example(2))
        zeros = {name: np.zeros_like(value) for name, value in zip(self._step.inputs, example, strict=True)}
        if "memory" in zeros:
            zeros["memory"] = zeros["memory"][:, :1]
        return {**zeros, "action": np.full(2, self._num_actions)}


class TeacherModel(StepModel):
    """A teacher, which also takes what older releases asked for.

    Those inputs are in addition the previous step's intrinsic, lifelong and episodic float32 [B] and its embedding
    float32 [B, E], in the place of the episode's memory; the answer is action and state.
    """

    def __init__(self, teacher: Teacher) -> None:
        super().__init__(step_of_teacher(teacher), teacher.network.spec.num_actions)
        self._network = teacher.network

    @torch.inference_mode()
    def predict(self, model_input: Mapping[str, Any], params: dict[str, Any] | None = None) -> Arrays:
        """Play one step."""
        if OLDER not in model_input:
            return super().predict(model_input, params)
        frame, state = _tensor(model_input, "frame", self._types[0]), _tensor(model_input, "state", np.float32)
        kinds = {name: np.int64 if kind == ACTION else np.float32 for name, kind in INPUTS.items()}
        features = Features(*(_tensor(model_input, name, kind) for name, kind in kinds.items()))
        policies = torch.zeros(len(frame), dtype=torch.long)
        preferences, following = self._network.act(frame, features, state.transpose(0, 1), policies)
        return {"action": preferences.argmax(-1).numpy(), "state": following.transpose(0, 1).numpy()}


def load_policy(folder: Path, *, torso: str | None = None) -> StepModel:
    """Load the policy of a checkpoint's weights, or a student, from its folder; `torso` as for `Teacher.load`."""
    if (folder / STUDENT_WEIGHTS).is_file():
        network = load_student(folder)
        return StepModel(step_of_student(network), network.spec.num_actions)
    return TeacherModel(Teacher.load(folder, torso=torso))


def _load_pyfunc(data_path: str) -> StepModel:
    """Load the policy for MLflow, which calls this function."""
    return load_policy(Path(data_path))


def _as_stepped(names: Any, tensors: Any) -> list[Tensor]:
    """Move the batch of `state` from its first axis to its second, or back."""
    return [value.transpose(0, 1) if name == "state" else value for name, value in zip(names, tensors, strict=True)]


def _tensor(model_input: Mapping[str, Any], name: str, dtype: Any) -> Tensor:
    if name not in model_input:
        raise Meme57Error(f"the input {name!r} is missing: see the model's signature")
    return torch.from_numpy(np.ascontiguousarray(model_input[name], dtype=dtype))
