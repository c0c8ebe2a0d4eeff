"""The exported student at play, what it weighs, and folders that hold no policy."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from meme57.agent.cost import student_step
from meme57.envs import EnvSpec
from meme57.errors import CheckpointError, Meme57Error
from meme57.evaluation.protocol import play_episodes
from meme57.evaluation.watch import watch
from meme57.export.facts import export_facts, teacher_multiply_adds
from meme57.export.onnx import export_step
from meme57.export.onnx_policy import open_session
from meme57.export.policy_folder import open_policy
from meme57.export.steps import step_of_student
from meme57.learning.policies import StudentPolicy, Teacher, load_student, save_student


@pytest.fixture(scope="module")
def folder(tmp_path_factory, corridor: EnvSpec, corridor_student) -> Path:
    """A student's folder as `distill` leaves it."""
    folder = tmp_path_factory.mktemp("student")
    save_student(corridor_student, folder, corridor)
    export_step(step_of_student(corridor_student), folder / "student.onnx")
    return folder


def test_a_student_folder_stands_alone_and_plays_what_pytorch_plays(folder: Path, corridor: EnvSpec) -> None:
    policy = open_policy(folder)
    assert (policy.agent, policy.env) == ("student", corridor)
    network = load_student(folder)
    settings = {"episodes": 5, "num_envs": 3, "seed": 7}
    mine = play_episodes(policy.make, policy.env, **settings)
    assert mine == play_episodes(lambda num_envs: StudentPolicy(network, num_envs), corridor, **settings)
    assert len({episode.num_steps for episode in mine}) >= 1


def test_a_student_that_draws_its_actions_does_so_wherever_it_plays(
    folder: Path, corridor: EnvSpec, tmp_path: Path
) -> None:
    drawing = tmp_path / "drawing"
    shutil.copytree(folder, drawing)
    spec = json.loads((drawing / "student.json").read_text())
    (drawing / "student.json").write_text(json.dumps({**spec, "temperature": 2.0}))
    policy, network = open_policy(drawing), load_student(drawing)
    assert policy.temperature == network.spec.temperature == 2.0

    def actions(make) -> list:
        player = make(3)
        player.begin(np.zeros((3, corridor.height, corridor.width), np.uint8))
        return [player.act().tolist() for _ in range(20)]

    mine = actions(policy.make)
    assert mine == actions(lambda num_envs: StudentPolicy(network, num_envs))
    assert mine != actions(open_policy(folder).make)
    assert len(set(map(tuple, mine))) > 1


def test_watching_gives_every_frame_and_the_same_episodes(folder: Path) -> None:
    policy, finished = open_policy(folder), []
    frames = list(watch(policy.make, policy.env, episodes=2, seed=7, finished=finished))
    assert finished == play_episodes(policy.make, policy.env, episodes=2, num_envs=1, seed=7)
    # the first frame, every step's, and the reset between two episodes
    assert len(frames) == 1 + sum(episode.num_steps for episode in finished) + 1
    assert {frame.dtype for frame in frames} == {np.dtype(np.uint8)}


def test_a_teacher_folder_opens_too(teacher_folder: Path, pong: EnvSpec) -> None:
    policy = open_policy(teacher_folder)
    assert (policy.agent, policy.env) == ("teacher", pong)
    network, novelty = teacher_multiply_adds(Teacher.load(teacher_folder))
    assert network > 0 < novelty


def test_facts_of_an_export(folder: Path, corridor_student) -> None:
    facts = export_facts(corridor_student, folder / "student.onnx")
    assert 0 <= facts.onnx_difference <= 1e-4
    assert facts.onnx_bytes == (folder / "student.onnx").stat().st_size
    assert 0 < facts.onnx_step_ms < 1_000 > facts.torch_step_ms > 0
    assert facts.multiply_adds_student == student_step(corridor_student)


def test_what_is_no_policy_is_named(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(CheckpointError, match="contains no policy: give a checkpoint-000123 folder"):
        open_policy(tmp_path)
    (tmp_path / "student.json").write_bytes((folder / "student.json").read_bytes())
    with pytest.raises(CheckpointError, match=r"env\.json is missing: `kedro run --pipelines distill`"):
        open_policy(tmp_path)
    (tmp_path / "env.json").write_bytes((folder / "env.json").read_bytes())
    with pytest.raises(Meme57Error, match=r"student\.onnx is missing"):
        open_policy(tmp_path)


def test_an_onnx_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "other",
        [value("x", TensorProto.FLOAT, [1])],
        [value("y", TensorProto.FLOAT, [1])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "x.onnx")
    with pytest.raises(Meme57Error, match="is no student: its inputs are x, not frame, action, reward, state"):
        open_session(tmp_path / "x.onnx")
