"""Folders as a checkpoint and a distilled student leave them, with weights large enough for varied actions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from meme57.agent.student import StudentNetwork, StudentSpec
from meme57.blueprint import agent_spec, make_networks
from meme57.config import Parameters, parse_parameters
from meme57.envs import EnvSpec, env_spec
from meme57.export.onnx import export_step
from meme57.export.steps import step_of_student
from meme57.files import write_json
from meme57.learning.policies import describe, save_student
from tiny_agent import _one_torch_thread  # noqa: F401 - for every test below this folder

PONG = {
    "env": {"game": "Pong", "height": 36, "width": 36, "full_action_space": False, "max_episode_frames": 240},
    "family": {"num_policies": 3},
    "network": {"torso": "small", "small_channels": [4, 8], "lstm_size": 16, "head_size": 16, "feature_size": 16},
    "novelty": {"channels": [4, 8], "rnd_size": 16, "hidden_size": 16, "embedding_size": 8},
}


@pytest.fixture(scope="session")
def pong_parameters() -> Parameters:
    return parse_parameters(PONG)


@pytest.fixture(scope="session")
def pong(pong_parameters: Parameters) -> EnvSpec:
    return env_spec(pong_parameters.env)


@pytest.fixture(scope="session")
def corridor() -> EnvSpec:
    return env_spec(parse_parameters({"env": {"game": "Corridor", "height": 16, "width": 16}}).env)


@pytest.fixture(scope="session")
def make_teacher(pong: EnvSpec) -> Callable[..., Path]:
    """Folder, network parameters that differ -> the folder, as a checkpoint leaves it."""

    def make(folder: Path, network: Mapping[str, Any] = MappingProxyType({})) -> Path:
        parameters = parse_parameters({**PONG, "network": {**PONG["network"], **network}})
        folder.mkdir()
        spec = agent_spec(parameters, pong)
        networks = dict(zip(("network", "novelty"), make_networks(spec, seed=3), strict=True))
        for name, module in networks.items():
            for parameter in module.parameters():
                parameter.data.mul_(2.0)
            weights = {key: value.contiguous() for key, value in module.state_dict().items()}
            save_file(weights, folder / f"{name}.safetensors")
        write_json(folder / "agent.json", describe(pong, spec.network, spec.novelty, parameters))
        return folder

    return make


@pytest.fixture
def teacher_folder(tmp_path: Path, make_teacher: Callable[..., Path]) -> Path:
    return make_teacher(tmp_path / "teacher")


def make_student(env: EnvSpec, *, seed: int = 0) -> StudentNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = StudentNetwork(StudentSpec(env.height, env.width, env.num_actions, 16, (4, 8)))
    for parameter in network.parameters():
        parameter.data.mul_(3.0)
    return network.eval()


@pytest.fixture(scope="session")
def corridor_student(corridor: EnvSpec) -> StudentNetwork:
    return make_student(corridor)


@pytest.fixture
def student_folder(tmp_path: Path, pong: EnvSpec) -> Path:
    save_student(make_student(pong), tmp_path / "student")
    return tmp_path / "student"


@pytest.fixture(scope="session")
def exported_student(tmp_path_factory: pytest.TempPathFactory, pong: EnvSpec) -> Path:
    """A student's folder with its ONNX file, as `distill` leaves it."""
    folder = tmp_path_factory.mktemp("exported") / "student"
    student = make_student(pong, seed=2)
    save_student(student, folder, pong)
    export_step(step_of_student(student), folder / "student.onnx")
    return folder
