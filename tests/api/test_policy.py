"""meme57.load: policies of each kind at play, on raw observations, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import save_file

import meme57
from meme57.blueprint import agent_spec, make_networks
from meme57.config import parse_parameters
from meme57.envs import env_spec, make_env
from meme57.errors import CheckpointError, EnvironmentSetupError, Meme57Error
from meme57.evaluation.protocol import play_episodes
from meme57.learning.policies import Teacher, describe

SIZES = {
    "network": {"torso": "small", "lstm_size": 8, "head_size": 8, "feature_size": 8, "mlp_sizes": [8]},
    "family": {"num_policies": 2},
    "novelty": {"channels": [4, 4], "rnd_size": 4, "embedding_size": 4, "hidden_size": 4},
}
OWN = """
import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete

class Boxed(gymnasium.Env):
    observation_space = Dict({"screen": Box(0, 255, (30, 40, 3), np.uint8), "more": Discrete(2)})
    action_space = Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self.observe(), {}

    def step(self, action):
        self.time += 1
        return self.observe(), float(action), self.time == 9, False, {}

    def observe(self):
        return {"screen": self.np_random.integers(256, size=(30, 40, 3), dtype=np.uint8), "more": 0}

gymnasium.register("Boxed-v0", entry_point=Boxed)
"""
GAMES: dict[str, dict[str, Any]] = {
    "atari": {"game": "Pong", "height": 24, "width": 20, "max_episode_frames": 200},
    "toy": {"game": "Corridor", "height": 16, "width": 16},
    "vector": {"id": "CartPole-v1"},
    "image of a dictionary": {"id": "own_boxed:Boxed-v0", "observation_key": "screen", "height": 24, "width": 24},
}


@pytest.fixture(autouse=True)
def _own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_boxed.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))


def write_policy(folder: Path, env: dict[str, Any]) -> Path:
    """An untrained policy as a checkpoint keeps it."""
    is_vector = env.get("id") == "CartPole-v1"
    network_group = {**SIZES["network"], "torso": "mlp" if is_vector else "small"}
    parameters = parse_parameters({**SIZES, "network": network_group, "env": env})
    game = env_spec(parameters.env)
    agent = agent_spec(parameters, game)
    network, novelty = make_networks(agent, seed=3)
    folder.mkdir(parents=True)
    (folder / "agent.json").write_text(json.dumps(describe(game, agent.network, agent.novelty, parameters)))
    for name, module in (("network", network), ("novelty", novelty)):
        weights = {key: value.contiguous() for key, value in module.state_dict().items()}
        save_file(weights, folder / f"{name}.safetensors")
    return folder


@pytest.mark.parametrize("kind", GAMES)
def test_a_loop_over_its_environment_plays_what_play_plays(kind: str, tmp_path: Path) -> None:
    """The same seed gives the same episode: observations, rewards and memory reach the policy as in evaluation."""
    folder = write_policy(tmp_path / "policy", GAMES[kind])
    policy = meme57.load(str(folder), code=["own_boxed:Boxed-v0"])
    seed = 1_600_000_000
    table = policy.play(2, seed=seed)
    for i in range(2):
        observation, _ = policy.env.reset(seed=seed + i)
        total, steps, ended = 0.0, 0, False
        while not ended:
            observation, reward, terminated, truncated, _ = policy.env.step(policy.act(observation))
            total, steps, ended = total + float(reward), steps + 1, terminated or truncated
        assert steps == table["length_steps"][i]
        assert total == pytest.approx(table["return"][i])


def test_actions_are_those_of_the_agent_on_its_own_frames(tmp_path: Path) -> None:
    folder = write_policy(tmp_path / "policy", GAMES["image of a dictionary"])
    policy, teacher = meme57.load(str(folder), code=["own_boxed:Boxed-v0"]), Teacher.load(folder)
    env = make_env(teacher.env, num_envs=1)
    player = teacher.player(1)
    player.begin(env.reset(seed=5))
    observation, _ = policy.env.reset(seed=5)
    for _ in range(8):
        action = player.act()
        assert policy.act(observation) == action[0]
        player.observe(action, env.step(action))
        observation, *_ = policy.env.step(int(action[0]))


def test_play_gives_a_row_for_each_whole_episode(tmp_path: Path) -> None:
    folder = write_policy(tmp_path / "policy", GAMES["toy"])
    policy = meme57.load(str(folder))
    table = policy.play(3, seed=7)
    played = play_episodes(Teacher.load(folder).player, policy.spec, episodes=3, num_envs=3, seed=7)
    assert table["return"].tolist() == [episode.extrinsic_return for episode in played]
    assert list(table) == ["env", "seed", "return", "length_steps", "truncated"]
    assert (policy.agent, policy.game, repr(policy)) == ("teacher", "Corridor", "<teacher of Corridor>")


def test_with_an_environment_of_ones_own_rewards_are_told_and_reset_begins_anew(tmp_path: Path) -> None:
    policy = meme57.load(str(write_policy(tmp_path / "policy", GAMES["vector"])))
    first = [policy.act(np.full(4, 0.1 * i), reward=float(i)) for i in range(20)]
    policy.reset()
    assert [policy.act(np.full(4, 0.1 * i), reward=float(i)) for i in range(20)] == first


def test_an_observation_of_another_kind_is_one_line(tmp_path: Path) -> None:
    vector = meme57.load(str(write_policy(tmp_path / "vector", GAMES["vector"])))
    with pytest.raises(EnvironmentSetupError, match=r"the shape \[3\]: the policy of CartPole-v1 sees 4 numbers"):
        vector.act(np.zeros(3))
    image = meme57.load(str(write_policy(tmp_path / "image", GAMES["atari"])))
    with pytest.raises(EnvironmentSetupError, match=r"float64 \[24, 20\]: the policy of Pong sees uint8 images"):
        image.act(np.zeros((24, 20)))


def test_code_that_only_the_policys_file_names_is_refused(tmp_path: Path) -> None:
    folder = write_policy(tmp_path / "policy", GAMES["image of a dictionary"])
    policy = meme57.load(str(folder))
    assert policy.act({"screen": np.zeros((30, 40, 3), np.uint8)}) in (0, 1, 2)  # needs no environment
    for use in (policy.play, lambda: policy.env):
        with pytest.raises(EnvironmentSetupError, match=r"names own_boxed:Boxed-v0, which is code.*code="):
            use()


def test_a_torso_that_only_the_policys_file_names_is_refused(tmp_path: Path) -> None:
    folder = write_policy(tmp_path / "policy", GAMES["toy"])
    tree = json.loads((folder / "agent.json").read_text())
    tree["network"]["torso"] = "os:system"
    (folder / "agent.json").write_text(json.dumps(tree))
    with pytest.raises(CheckpointError, match="names the torso os:system"):
        meme57.load(str(folder))


@pytest.mark.parametrize("source", ["./nowhere", "no-such-run"])
def test_what_is_not_there_is_one_line(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.kedro]\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Meme57Error) as caught:
        meme57.load(source)
    assert "\n" not in str(caught.value)


LAZY = """
import sys, meme57, meme57.actors
print(sorted({name.partition(".")[0] for name in sys.modules} & {"mlflow", "kedro", "ray", "optuna", "plotly"}))
print(sorted(set(dir(meme57)) & {"load", "runs", "curve", "scores"}))
"""


def test_importing_the_package_loads_no_heavy_one() -> None:
    done = subprocess.run([sys.executable, "-c", LAZY], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "['curve', 'load', 'runs', 'scores']"]


def test_importing_the_package_alone_loads_not_even_torch() -> None:
    script = "import sys, meme57; print({'torch', 'pandas', 'numpy', 'gymnasium'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_loading_loads_neither_kedro_nor_mlflow_nor_ray(tmp_path: Path) -> None:
    folder = write_policy(tmp_path / "policy", GAMES["toy"])
    script = (
        f"import sys, meme57; meme57.load({str(folder)!r}).play(1)\n"
        "print({'mlflow', 'kedro', 'ray'} & {name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        _ = meme57.lod
