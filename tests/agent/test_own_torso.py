"""A torso of the user's: imported where the user names it, checked when made, refused where only a file names it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from meme57.agent.network import MemeNetwork
from meme57.agent.parameters import NetworkSpec
from meme57.agent.torso import make_torso
from meme57.blueprint import agent_spec, make_networks
from meme57.config import Parameters, parse_parameters
from meme57.envs import env_spec
from meme57.errors import CheckpointError, ConfigurationError
from meme57.learning.policies import Teacher, describe

MODULE = """
import torch
from torch import nn
from meme57.agent.torso import Torso

class Plain(Torso):
    smallest = 20

    def __init__(self, height, width):
        super().__init__()
        self.layer = nn.Linear(height * width, 5)
        self.num_features = 5

    def forward(self, frames):
        return self.layer(frames.flatten(1))

class Wrong(Plain):
    def forward(self, frames):
        return self.layer(frames.flatten(1)).unsqueeze(-1)

class Listing(Plain):
    def forward(self, frames):
        return [frames]

class Failing(Plain):
    def forward(self, frames):
        return self.layer(frames)

class Unmade(Torso):
    def __init__(self, height, width):
        raise RuntimeError("no weights")

class Alien(nn.Module):
    pass
"""


@pytest.fixture(autouse=True)
def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_torsos.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_torsos", raising=False)


def spec(torso: str) -> NetworkSpec:
    return NetworkSpec(torso=torso, height=24, width=20, num_actions=4, num_policies=2, embedding_size=4)


def small(torso: str, size: int = 24) -> Parameters:
    return parse_parameters(
        {
            "env": {"game": "Corridor", "height": size, "width": size},
            "network": {"torso": torso, "lstm_size": 8, "head_size": 8, "feature_size": 8},
            "family": {"num_policies": 2},
            "novelty": {"channels": [4, 4], "rnd_size": 4, "embedding_size": 4, "hidden_size": 4},
        }
    )


def save(network: torch.nn.Module, path: Path) -> None:
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, path)


def write_policy(folder: Path, torso: str) -> None:
    """What a checkpoint has of its agent."""
    parameters = small("small")
    env = env_spec(parameters.env)
    agent = agent_spec(parameters, env)
    network, novelty = make_networks(agent, seed=1)
    tree = describe(env, agent.network, agent.novelty, parameters)
    tree["network"]["torso"] = torso
    folder.mkdir()
    (folder / "agent.json").write_text(json.dumps(tree))
    save(network, folder / "network.safetensors")
    save(novelty, folder / "novelty.safetensors")


def test_it_is_made_and_learns() -> None:
    torso = make_torso(spec("own_torsos:Plain"))
    assert torso.training
    network = MemeNetwork(spec("own_torsos:Plain"))
    assert network.torso.num_features == 5
    network.torso(torch.rand(3, 1, 24, 20)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.torso.parameters())


def test_a_configuration_that_names_it_imports_nothing() -> None:
    assert small("own_torsos:Plain").network.torso == "own_torsos:Plain"
    assert "own_torsos" not in sys.modules


@pytest.mark.parametrize(
    ("torso", "words"),
    [
        ("own_torsos:Wrong", r"returns \[2, 5, 1\] for frames \[2, 1, 24, 20\], and its num_features is 5"),
        ("own_torsos:Listing", r"returns list for frames"),
        ("own_torsos:Failing", r"fails on frames \[2, 1, 24, 20\]: RuntimeError"),
        ("own_torsos:Unmade", r"RuntimeError: no weights"),
        ("own_torsos:Alien", r"no subclass of meme57.agent.torso.Torso"),
        ("own_torsos:Nobody", r"cannot be imported .AttributeError"),
        ("no_such_module:Plain", r"cannot be imported .ModuleNotFoundError.*PYTHONPATH"),
        ("os:system", r"os:system is no subclass"),
    ],
)
def test_what_cannot_be_used_is_one_line(torso: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        make_torso(spec(torso))
    assert "\n" not in str(caught.value)


def test_frames_that_are_too_small_for_it_are_refused() -> None:
    parameters = small("own_torsos:Plain", size=18)
    with pytest.raises(ConfigurationError, match="needs frames of 20x20"):
        agent_spec(parameters, env_spec(parameters.env))


@pytest.mark.parametrize("named", [None, "small", "own_torsos:Plain"])
def test_a_file_that_names_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str | None) -> None:
    called: list[str] = []
    monkeypatch.setattr(os, "system", called.append)
    write_policy(tmp_path / "policy", "os:system")
    with pytest.raises(CheckpointError, match=r"names the torso os:system, which is code.*torso=") as caught:
        Teacher.load(tmp_path / "policy", torso=named)
    assert "\n" not in str(caught.value)
    assert not called


def test_a_file_imports_nothing(tmp_path: Path) -> None:
    write_policy(tmp_path / "policy", "own_torsos:Plain")
    with pytest.raises(CheckpointError, match="own_torsos:Plain"):
        Teacher.load(tmp_path / "policy")
    assert "own_torsos" not in sys.modules


def test_even_a_named_function_is_not_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    monkeypatch.setattr(os, "system", called.append)
    write_policy(tmp_path / "policy", "os:system")
    with pytest.raises(ConfigurationError, match="no subclass"):
        Teacher.load(tmp_path / "policy", torso="os:system")
    assert not called


def test_an_unknown_name_in_a_file_is_damage(tmp_path: Path) -> None:
    write_policy(tmp_path / "policy", "resnet")
    with pytest.raises(CheckpointError, match="damaged"):
        Teacher.load(tmp_path / "policy")


def test_a_policy_with_a_torso_of_the_users_is_read_where_the_user_names_it(tmp_path: Path) -> None:
    parameters = small("own_torsos:Plain")
    env = env_spec(parameters.env)
    agent = agent_spec(parameters, env)
    network, novelty = make_networks(agent, seed=1)
    folder = tmp_path / "policy"
    folder.mkdir()
    (folder / "agent.json").write_text(json.dumps(describe(env, agent.network, agent.novelty, parameters)))
    save(network, folder / "network.safetensors")
    save(novelty, folder / "novelty.safetensors")
    teacher = Teacher.load(folder, torso=parameters.network.torso)
    assert type(teacher.network.torso).__name__ == "Plain"
    assert torch.equal(teacher.network.torso.layer.weight, network.torso.layer.weight)
