"""A registered policy loads where this project cannot be imported, and acts as the live one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pytest
import torch

from meme57.actors import Player
from meme57.envs import EnvSpec, make_env
from meme57.export.card import model_card
from meme57.export.facts import teacher_facts
from meme57.export.meme57_policy_v1 import Policy
from meme57.export.onnx import export_step
from meme57.export.pyfunc import load_policy
from meme57.export.steps import step_of_teacher
from meme57.export.travelling import TEACHER_ONNX, export_teacher, serve_policy
from meme57.files import write_json
from meme57.learning.policies import StudentPolicy, Teacher, load_student
from meme57.pipelines.register import nodes
from meme57.tracking.pyfunc import save_policy_model

STRANGER = """
import importlib.machinery, json, sys

BLOCKED = {"meme57", "torch", "safetensors", "kedro", "onnx", "onnxscript"}
find = importlib.machinery.PathFinder.find_spec

def find_spec(name, path=None, target=None):
    if name.partition(".")[0] in BLOCKED:
        raise ImportError(f"{name} is not on this machine")
    return find(name, path, target)

importlib.machinery.PathFinder.find_spec = find_spec
try:
    import meme57
except ImportError:
    pass
else:
    raise SystemExit("meme57 can be imported")
import mlflow.pyfunc
import numpy as np

model = mlflow.pyfunc.load_model(sys.argv[1])
types = {spec.name: spec.type for spec in model.metadata.get_input_schema()}
frames = np.load(sys.argv[2])
step = {name: np.array(value, types[name]) for name, value in json.load(open(sys.argv[3]))["inputs"].items()}
actions = []
for frame in frames:
    answer = model.predict({**step, "frame": frame[None]})
    actions.append(answer["action"].tolist())
    step = {**step, **answer}
print(json.dumps(actions))
"""
"""Plays a recorded film, without rewards."""


def registered(folder: Path, target: Path) -> Path:
    """The model folder that `register` makes."""
    served = serve_policy(folder)
    return save_policy_model(
        target, data_path=folder, loader_module=served.loader_module, inputs=served.first_step,
        outputs=served.answer, pip_requirements=served.requirements, code=served.code, growing=("memory",),
        card=model_card("meme57-pong", "a policy", "Pong", {"mean return": 1}, served),
    )  # fmt: skip


def film(pong: EnvSpec, length: int = 60) -> np.ndarray[Any, Any]:
    """Frames [T, H, W] from black to noise, so that actions vary."""
    noise = np.random.default_rng(3).integers(0, 256, (length, pong.height, pong.width))
    return (noise * np.linspace(0, 1, length)[:, None, None]).astype(np.uint8)


def as_a_stranger(model: Path, frames: np.ndarray[Any, Any], folder: Path) -> list[list[int]]:
    np.save(folder / "film.npy", frames)
    shutil.copytree(model, folder / "copied", ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [sys.executable, "-I", "-c", STRANGER, "copied", "film.npy", "copied/first_step.json"],
        cwd=folder, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout.splitlines()[-1]))


def test_a_student_plays_where_meme57_and_torch_are_not(exported_student: Path, tmp_path: Path, pong: EnvSpec) -> None:
    model, frames = registered(exported_student, tmp_path / "model"), film(pong)
    requirements = (model / "requirements.txt").read_text().split()
    assert sorted(re.split("[=>]", line)[0] for line in requirements) == ["mlflow", "numpy", "onnxruntime"]
    assert [path.name for path in (model / "code").iterdir()] == ["meme57_policy_v1.py"]
    network = load_student(exported_student)
    live = StudentPolicy(network, 1)
    live.begin(frames[:1])
    expected = []
    for following in [*frames[1:], frames[0]]:
        action = live.act()
        expected.append(action.tolist())
        live.actions, live.observation = action, following[None]
    assert as_a_stranger(model, frames, tmp_path) == expected
    assert len({action for [action] in expected}) >= 2


def test_a_student_without_an_onnx_file_is_served_by_this_project(student_folder: Path, tmp_path: Path) -> None:
    model = registered(student_folder, tmp_path / "model")
    assert not (model / "code").exists()
    assert "loads only where meme57 is installed" in (model / "README.md").read_text()
    assert "meme57" in (model / "requirements.txt").read_text().split()
    assert mlflow.pyfunc.load_model(str(model)).metadata.flavors["python_function"]["loader_module"] == (
        "meme57.export.pyfunc"
    )


def test_a_policy_through_pytorch_asks_for_what_its_onnx_file_does(exported_teacher: Path, exported_student) -> None:
    """So one card is true of both."""
    for folder, name in ((exported_teacher, "teacher.onnx"), (exported_student, "student.onnx")):
        anywhere, at_home = Policy(folder / name), load_policy(folder)
        first, here = anywhere.start(2), at_home.example()
        assert {key: (value.shape, value.dtype) for key, value in first.items()} == {
            key: (value.shape, value.dtype) for key, value in here.items()
        }
        answer, home = anywhere.predict(first), at_home.predict(here)
        assert {key: value.shape for key, value in answer.items()} == {key: value.shape for key, value in home.items()}
        for key in home:
            np.testing.assert_allclose(home[key], answer[key], atol=1e-3)


def test_a_policy_is_registered_at_the_temperature_of_its_score(make_teacher, student_folder, tmp_path: Path) -> None:
    """A greedy run may be scored by drawing; whoever plays the version plays what was scored."""
    teacher = make_teacher(tmp_path / "checkpoint")
    copies = [
        (nodes._copy_teacher(teacher, tmp_path / f"{temperature}", "small", temperature),
         nodes._copy_student(student_folder, tmp_path / f"{temperature}", temperature))
        for temperature in (0.0, 0.25)
    ]  # fmt: skip
    assert [Teacher.load(folder).temperature for folder, _ in copies] == [0.0, 0.25]
    assert [load_student(folder).spec.temperature for _, folder in copies] == [0.0, 0.25]
    assert nodes._actions(0.0) == {}
    assert (
        nodes._actions(0.25)["actions"]
        == "the score is of actions drawn at temperature 0.25; served here are the best ones"
    )
    for original, copy, name in ((teacher, copies[0][0], "agent.json"), (student_folder, copies[0][1], "student.json")):
        assert (copy / name).read_bytes() == (original / name).read_bytes()  # so that the version's checksum stays


def test_an_onnx_file_that_does_not_open_costs_a_warning(exported_student: Path, tmp_path: Path, caplog) -> None:
    folder = tmp_path / "student"
    shutil.copytree(exported_student, folder)
    (folder / "student.onnx").write_bytes(b"x")
    assert serve_policy(folder).loader_module == "meme57.export.pyfunc"
    assert "the registered policy needs meme57 where it is loaded" in caplog.text


def test_the_card_names_every_input_and_what_runs(exported_student: Path, tmp_path: Path) -> None:
    model = registered(exported_student, tmp_path / "model")
    card = (model / "README.md").read_text()
    for name in json.loads((model / "first_step.json").read_text())["inputs"]:
        assert f"| `{name}` |" in card
    assert "`code/meme57_policy_v1.py`" in card
    assert "compare nothing" in card
    assert "| mean return | 1 |" in card


def test_a_missing_input_is_named(exported_student: Path) -> None:
    policy = Policy(exported_student / "student.onnx")
    inputs = policy.start()
    del inputs["reward"]
    with pytest.raises(ValueError, match="the input 'reward' is missing"):
        policy.predict(inputs)


@pytest.fixture(scope="module")
def exported_teacher(tmp_path_factory: pytest.TempPathFactory, make_teacher) -> Path:
    folder = make_teacher(tmp_path_factory.mktemp("exported") / "teacher")
    export_teacher(folder)
    return folder


def test_a_teacher_that_is_exported_again_has_the_same_bytes(make_teacher, tmp_path: Path) -> None:
    """Else registering again would make a new version of the same policy: the first export of a process had others."""
    contents = []
    for name in ("first", "second"):
        folder = make_teacher(tmp_path / name)
        export_teacher(folder)
        contents.append((folder / TEACHER_ONNX).read_bytes())
    assert contents[0] == contents[1]
    assert b"ExportedProgram" not in contents[0]


@torch.inference_mode()
@pytest.mark.parametrize("through", ["onnx", "torch"])
def test_a_teacher_computes_its_novelty_as_the_player_does(exported_teacher: Path, pong: EnvSpec, through: str) -> None:
    """Two episodes at once, each as in a player of one environment; their ends are at different steps."""
    teacher = Teacher.load(exported_teacher)
    policy: Any = Policy(exported_teacher / "teacher.onnx") if through == "onnx" else load_policy(exported_teacher)
    envs = [make_env(pong, num_envs=1) for _ in range(2)]
    live = [Player(teacher.network, teacher.novelty, num_envs=1) for _ in envs]
    for seed, (env, player) in enumerate(zip(envs, live, strict=True)):
        observation = env.reset(seed=seed)
        for _ in range(20 * seed):  # the second one begins later in its game: it ends earlier
            observation = env.step(np.zeros(1, np.int64)).observation
        player.begin(observation)
    answer = policy.start(2) if through == "onnx" else policy.example()
    rng, rewards = np.random.default_rng(0), np.zeros(2, np.float32)
    seen, resets, novel = set(), 0, 0.0
    for _ in range(130):
        step = {**answer, "frame": np.concatenate([player.observation for player in live]), "reward": rewards}
        answer = policy.predict(step)
        expected = [int(player.preferences(np.zeros(1, np.int64)).argmax()) for player in live]
        assert answer["action"].tolist() == expected
        for row, player in enumerate(live):
            # an embedding between two float16 numbers may be rounded to either
            np.testing.assert_allclose(answer["state"][row], player.state[:, 0].numpy(), atol=2e-2)
            np.testing.assert_allclose(answer["distance"][row], [*player.memory.state_dict().values()], rtol=2e-2)
        actions = np.where(rng.random(2) < 0.3, rng.integers(pong.num_actions, size=2), expected)
        results = [env.step(actions[row : row + 1]) for row, env in enumerate(envs)]
        for row, (player, result) in enumerate(zip(live, results, strict=True)):
            player.observe(actions[row : row + 1], result)
            novel += float(player.inputs.intrinsic[0])
        over = np.array([result.is_reset[0] for result in results])
        rewards = np.array([result.reward[0] for result in results])
        answer["action"] = np.where(over, pong.num_actions, actions)
        answer["steps"] = np.where(over, 0, answer["steps"])
        answer["state"] = np.where(over[:, None, None], 0.0, answer["state"])
        seen |= set(expected)
        resets += int(over.sum())
    assert answer["memory"].shape == (2, 131, 8)
    assert len(seen) >= 2
    assert resets >= 3
    assert novel > 0
    for env in envs:
        env.close()


def test_facts_of_a_teacher(exported_teacher: Path) -> None:
    facts = teacher_facts(Teacher.load(exported_teacher), exported_teacher / "teacher.onnx")
    assert 0 <= facts.onnx_difference < 1e-3
    assert (facts.episode_steps, facts.same_actions) == (60, 1.0)  # 240 frames are 60 steps
    assert 0 < facts.onnx_step_ms < 1_000 > facts.torch_step_ms > 0
    assert facts.onnx_bytes == (exported_teacher / "teacher.onnx").stat().st_size
    assert facts.multiply_adds_teacher > 0 < facts.multiply_adds_novelty


@pytest.mark.slow
def test_a_teacher_plays_where_meme57_and_torch_are_not(exported_teacher: Path, tmp_path: Path, pong: EnvSpec) -> None:
    model, frames = registered(exported_teacher, tmp_path / "model"), film(pong)
    policy = Policy(exported_teacher / "teacher.onnx")
    step, expected = policy.start(), []
    for frame in frames:
        answer = policy.predict({**step, "frame": frame[None]})
        expected.append(answer["action"].tolist())
        step = {**step, **answer}
    assert as_a_stranger(model, frames, tmp_path) == expected
    inputs = {name: np.asarray(value) for name, value in policy.start(3).items()}
    loaded = mlflow.pyfunc.load_model(str(model))
    for _ in range(3):  # the signature lets the memory grow
        inputs = {**inputs, **loaded.predict(inputs)}
    assert inputs["memory"].shape == (3, 4, 8)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"distil_policy": False}, {"novelty_enabled": False}])
def test_other_teachers_are_exported_too(make_teacher, tmp_path: Path, settings: dict[str, bool]) -> None:
    folder = make_teacher(tmp_path / "teacher")
    tree = json.loads((folder / "agent.json").read_text())
    write_json(folder / "agent.json", {**tree, **settings})
    teacher = Teacher.load(folder)
    export_step(step_of_teacher(teacher), folder / "teacher.onnx")
    assert teacher_facts(teacher, folder / "teacher.onnx").same_actions == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("torso", ["nfnet", "impala", "nature"])
def test_every_torso_is_exported(make_teacher, tmp_path: Path, torso: str) -> None:
    folder = make_teacher(tmp_path / "teacher", {"torso": torso, "nfnet_widths": [4, 8], "nfnet_blocks": 1})
    teacher = Teacher.load(folder)
    export_step(step_of_teacher(teacher), folder / "teacher.onnx")
    assert teacher_facts(teacher, folder / "teacher.onnx").same_actions == 1.0
