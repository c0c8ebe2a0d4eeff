"""One step of an exported policy. MLflow copies this file into the model: it needs onnxruntime and numpy alone.

Another contract gets another name, since a process that loads two models has one module of each name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

TYPES = {"tensor(uint8)": np.uint8, "tensor(int64)": np.int64, "tensor(float)": np.float32}


class Policy:
    """Greedy steps of B episodes at once; the first axis of every input and output is B."""

    def __init__(self, path: Path | str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._inputs = {entry.name: entry for entry in self._session.get_inputs()}
        preferences, *following = self._session.get_outputs()
        self._num_actions = preferences.shape[1]
        self._following = [entry.name.removeprefix("next_") for entry in following]

    def predict(self, model_input: Mapping[str, Any], params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the action of each episode, and all that the next step needs except the frame and the reward."""
        feed = {name: self._array(model_input, name) for name in self._inputs}
        preferences, *following = self._session.run(None, {**feed, "state": feed["state"].swapaxes(0, 1)})
        answer = {"action": preferences.argmax(-1), **dict(zip(self._following, following, strict=True))}
        return {**answer, "state": answer["state"].swapaxes(0, 1)}

    def start(self, batch: int = 1) -> dict[str, Any]:
        """Return the inputs of an episode's first step: a black frame, no action yet, zeros."""
        zeros = {name: self._array({name: self._zeros(name, batch)}, name) for name in self._inputs}
        return {**zeros, "action": np.full(batch, self._num_actions), "state": zeros["state"].swapaxes(0, 1)}

    def _zeros(self, name: str, batch: int) -> Any:
        sizes = {"batch": batch}
        return np.zeros([size if isinstance(size, int) else sizes.get(size, 1) for size in self._inputs[name].shape])

    def _array(self, values: Mapping[str, Any], name: str) -> Any:
        if name not in values:
            raise ValueError(f"the input {name!r} is missing: see the model's signature")
        return np.ascontiguousarray(values[name], dtype=TYPES[self._inputs[name].type])


def _load_pyfunc(data_path: str) -> Policy:
    """Load the policy from the model's data folder, for MLflow."""
    [path] = Path(data_path).glob("*.onnx")
    return Policy(path)
