"""ONNX Runtime computes what PyTorch computes, at any batch size, and plays the same episodes."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.util import spec_from_loader
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from meme57.envs import make_env
from meme57.errors import Meme57Error
from meme57.export import onnx as export
from meme57.export.onnx_policy import OnnxStudent, open_session
from meme57.export.steps import INPUTS, OUTPUTS, step_of_student
from meme57.learning.policies import StudentPolicy


@pytest.fixture(scope="module")
def exported(tmp_path_factory, corridor_student) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "student.onnx"
    export.export_step(step_of_student(corridor_student), path)
    return path


@pytest.fixture(scope="module")
def session(exported) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(exported), providers=["CPUExecutionProvider"])


def test_export_leaves_one_file(exported) -> None:
    assert [file.name for file in exported.parent.iterdir()] == [exported.name]


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_any_batch_size_gives_what_pytorch_gives(session, corridor_student, batch: int) -> None:
    inputs = step_of_student(corridor_student).example(batch)
    feed = {name: value.numpy() for name, value in zip(INPUTS, inputs, strict=True)}
    logits, state = session.run(list(OUTPUTS), feed)
    with torch.inference_mode():
        expected_logits, expected_state = corridor_student(*inputs)
    assert logits.shape == (batch, 4)
    assert state.shape == (2, batch, 16)
    np.testing.assert_allclose(logits, expected_logits.numpy(), atol=1e-4)
    np.testing.assert_allclose(state, expected_state.numpy(), atol=1e-4)
    assert export.parity(step_of_student(corridor_student), Path(session._model_path), batch=batch) < 1e-4


def test_file_names_its_inputs_and_outputs_and_no_folder_of_this_machine(session, exported) -> None:
    assert [entry.name for entry in session.get_inputs()] == ["frame", "action", "reward", "state"]
    assert [entry.name for entry in session.get_outputs()] == ["logits", "next_state"]
    content = exported.read_bytes()
    assert str(Path(export.__file__).parents[1]).encode() not in content
    assert b"stack_trace" not in content


def test_episode_through_onnx_runtime_has_the_greedy_actions_of_pytorch(session, corridor_student, corridor) -> None:
    num_envs, steps = 3, 130  # more than an episode: the resets are part of it
    env, policy = make_env(corridor, num_envs=num_envs), StudentPolicy(corridor_student, num_envs)
    observation = env.reset(seed=0)
    policy.begin(observation)
    action = np.full(num_envs, corridor.num_actions)
    reward, state = np.zeros(num_envs, np.float32), np.zeros((2, num_envs, 16), np.float32)
    seen, resets = set(), 0
    for step in range(steps):
        logits, state = session.run(None, {"frame": observation, "action": action, "reward": reward, "state": state})
        mine, expected = logits.argmax(-1), policy.act()
        np.testing.assert_array_equal(mine, expected)
        mine = np.where(np.arange(num_envs) == step % num_envs, step % 4, mine)  # off the beaten track as well
        result = env.step(mine)
        policy.observe(mine, result)
        observation, reward = result.observation, result.reward
        action = np.where(result.is_reset, corridor.num_actions, mine)
        state[:, result.is_reset] = 0.0
        seen |= set(expected.tolist())
        resets += int(result.is_reset.sum())
    assert len(seen) >= 3
    assert resets >= 3
    env.close()


def test_file_that_differs_from_pytorch_is_not_kept(tmp_path, corridor_student) -> None:
    step = replace(step_of_student(corridor_student), tolerance=-1.0)
    with pytest.raises(Meme57Error, match=r"student.onnx differs from PyTorch by .* not kept"):
        export.export_step(step, tmp_path / "student.onnx")
    assert list(tmp_path.iterdir()) == []


class Broken:
    """An ONNX Runtime that is installed and does not work."""

    SessionOptions = onnxruntime.SessionOptions

    def __init__(self, *, opens: bool = False) -> None:
        self.opens = opens

    def InferenceSession(self, *arguments: Any, **named: Any) -> Any:  # noqa: N802 - as ONNX Runtime has it
        if self.opens:
            return self
        raise RuntimeError("no provider\nsecond line")

    def run(self, *_: Any) -> Any:
        raise RuntimeError("a kernel failed")


def broken_import(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a wheel for another processor: `import onnxruntime` raises `ImportError`."""

    class Finder:
        def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
            return spec_from_loader(name, self) if name == "onnxruntime" else None

        def create_module(self, spec: Any) -> None:
            return None

        def exec_module(self, module: Any) -> None:
            raise ImportError("undefined symbol")

    monkeypatch.delitem(sys.modules, "onnxruntime")
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])


def broken_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", Broken())


def broken_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", Broken(opens=True))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (broken_import, "onnxruntime does not work .undefined symbol"),
        (broken_sessions, "onnxruntime does not work .*: no provider$"),
        (broken_steps, "onnxruntime failed .a kernel failed"),
    ],
)
def test_a_broken_runtime_is_one_line_and_leaves_no_file(
    tmp_path: Path, exported, corridor_student, monkeypatch: pytest.MonkeyPatch, damage: Any, words: str
) -> None:
    """It once took a run down after training."""
    monkeypatch.setattr(export.importlib.util, "find_spec", lambda name: name)  # the packages are there
    damage(monkeypatch)
    with pytest.raises(Meme57Error, match=words) as info:
        export.export_step(step_of_student(corridor_student), tmp_path / "student.onnx")
    assert "pip install --force-reinstall onnxruntime" in str(info.value)
    assert "\n" not in str(info.value)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(Meme57Error, match=words):
        export.parity(step_of_student(corridor_student), exported)
    if damage is not broken_steps:
        with pytest.raises(Meme57Error, match=words):
            open_session(exported)


def test_a_runtime_that_fails_in_the_middle_of_an_episode_is_one_line(exported, corridor, monkeypatch) -> None:
    student = OnnxStudent(exported, 1)
    env = make_env(corridor, num_envs=1)
    student.begin(env.reset(seed=0))
    monkeypatch.setattr(student, "_session", Broken(opens=True))
    with pytest.raises(Meme57Error, match="onnxruntime failed"):
        student.act()
    env.close()
