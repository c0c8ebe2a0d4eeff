"""An evaluation in shares is the evaluation as a whole; a share that is lost is played again."""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from meme57.blueprint import agent_spec, make_networks
from meme57.config import parse_parameters
from meme57.envs import env_spec
from meme57.errors import ActorError, CheckpointError, Interrupted
from meme57.evaluation.agents import play_agents
from meme57.evaluation.protocol import play_episodes
from meme57.evaluation.shares import Share, play_share, play_shares, policy_maker, read_files, split
from meme57.executor import Outcome
from meme57.files import write_json
from meme57.learning.policies import Choice, Teacher, describe

PARAMETERS = parse_parameters(
    {
        "env": {"game": "Pong", "num_envs": 2, "height": 36, "width": 36, "max_episode_frames": 80},
        "network": {"torso": "small", "lstm_size": 8, "head_size": 8, "feature_size": 8, "small_channels": [3, 4]},
        "novelty": {"channels": [3, 4], "hidden_size": 8, "rnd_size": 4, "memory_size": 100},
        "family": {"num_policies": 2},
    }
)
SEED = 1_500_000_001


class Losing:
    """Plays in this process, and loses the first share of the first `times` calls."""

    def __init__(self, times: int) -> None:
        self.times, self.played = times, 0

    def run(self, function, arguments, *, stop=lambda: False):
        outcomes = [Outcome(value=function(argument)) for argument in arguments]
        self.played += len(arguments)
        if self.times:
            self.times -= 1
            outcomes[0] = Outcome(error="WorkerCrashedError: gone")
        return outcomes


@pytest.fixture(scope="module", name="folder")
def _folder(tmp_path_factory):
    """A teacher's files."""
    folder = tmp_path_factory.mktemp("teacher")
    env = env_spec(PARAMETERS.env)
    spec = agent_spec(PARAMETERS, env)
    for name, module in zip(("network", "novelty"), make_networks(spec, seed=3), strict=True):
        tensors = {key: value.contiguous() for key, value in module.state_dict().items()}
        save_file(tensors, folder / f"{name}.safetensors")
    write_json(folder / "agent.json", describe(env, spec.network, spec.novelty, PARAMETERS))
    return folder


def share(agent: str, **changes) -> Share:
    sizes = {"first_env": 0, "num_envs": 3, "episodes": 7, **changes}
    return Share(agent, env_spec(PARAMETERS.env), SEED, 0.0, **sizes)


def test_shares_cover_every_environment_with_its_quota() -> None:
    parts = split(share("random", num_envs=5, episodes=13), 3)  # quotas 3, 3, 3, 2, 2
    assert [(part.first_env, part.num_envs, part.episodes) for part in parts] == [(0, 2, 6), (2, 2, 5), (4, 1, 2)]
    assert len(split(share("random", num_envs=2, episodes=2), 8)) == 2


def test_the_teachers_episodes_in_shares_are_those_of_one_process_although_a_share_is_lost(folder) -> None:
    whole, files = share("teacher"), read_files("teacher", folder)
    assert set(files) == {"agent.json", "network.safetensors", "novelty.safetensors"}
    expected = play_episodes(policy_maker(whole, folder), whole.spec, episodes=7, num_envs=3, seed=SEED)
    executor = Losing(times=1)
    assert play_shares(whole, files, workers=2, executor=executor) == expected
    assert executor.played == 3  # two shares, and one of them again
    assert play_share(split(whole, 3)[2], files) == expected[-2:]


def test_draws_are_the_same_for_the_same_seed_and_others_for_another_share(folder) -> None:
    def actions(seed: int, **changes) -> list:
        policy = policy_maker(replace(share("teacher", **changes), seed=seed), folder)(3)
        policy.begin(np.zeros((3, 36, 36), np.uint8))
        return [policy.act().tolist() for _ in range(20)]

    drawn = actions(SEED, temperature=1.0)
    assert drawn == actions(SEED, temperature=1.0)
    assert drawn != actions(SEED)
    assert drawn != actions(SEED, temperature=1.0, first_env=3)


def test_choice_draws_from_the_softmax_and_takes_the_best_at_0() -> None:
    logits = np.tile(np.log(np.array([0.1, 0.6, 0.3], np.float32)), (20_000, 1))
    assert set(Choice(0.0)(logits).tolist()) == {1}
    for temperature, expected in ((1.0, [0.1, 0.6, 0.3]), (0.5, np.array([0.01, 0.36, 0.09]) / 0.46)):
        found = np.bincount(Choice(temperature)(logits), minlength=3) / len(logits)
        np.testing.assert_allclose(found, expected, atol=0.015)  # over four standard errors


@pytest.mark.parametrize("temperature", [-1.0, float("inf"), "warm", None])
def test_a_teacher_that_names_an_impossible_temperature_is_damaged(folder, tmp_path, temperature) -> None:
    shutil.copytree(folder, tmp_path / "teacher")
    path = tmp_path / "teacher" / "agent.json"
    tree = json.loads(path.read_text())
    assert tree["temperature"] == 0.0
    path.write_text(json.dumps({**tree, "temperature": temperature}))
    with pytest.raises(CheckpointError, match=r"agent\.json is damaged"):
        Teacher.load(tmp_path / "teacher")
    del tree["temperature"]  # an older file
    path.write_text(json.dumps(tree))
    assert Teacher.load(tmp_path / "teacher").temperature == 0.0


def test_a_share_that_fails_again_and_again_ends_the_evaluation() -> None:
    whole = share("random", num_envs=1, episodes=1)
    with pytest.raises(ActorError, match=r"evaluation failed 5 times on Ray .*gone.*: the same command tries again"):
        play_shares(whole, {}, workers=1, executor=Losing(times=99))
    with pytest.raises(Interrupted):
        play_shares(whole, {}, workers=1, executor=Losing(times=0), stop=lambda: True)


class Evaluation:
    """Evaluates random play and the teacher; `stop_in` names the agent whose first episode is the last one played."""

    def __init__(self, folder: Path, kept: Path) -> None:
        self.folder, self.kept = folder, kept
        self.played: list[str] = []
        self.stopped = False

    @contextlib.contextmanager
    def counter(self, what: str, unit: str):
        self.played.append(what)

        def count(done: int, total: int) -> None:
            self.stopped = what == self.stop_in

        yield count

    def __call__(self, *, stop_in: str = "", student: Path | None = None, **evaluate) -> list[dict]:
        self.stop_in, self.stopped, self.played = f"evaluate {stop_in}", False, []
        changes = {"bandit_policy": False, "episodes": 4, "num_envs": 2, **evaluate}
        parameters = PARAMETERS.model_copy(update={"evaluate": PARAMETERS.evaluate.model_copy(update=changes)})
        return play_agents(
            parameters, env_spec(PARAMETERS.env), self.folder, student,
            kept=self.kept, counter=self.counter, stop=lambda: self.stopped,
        )  # fmt: skip


@pytest.fixture
def evaluation(folder, tmp_path) -> Evaluation:
    return Evaluation(folder, tmp_path)


def test_an_evaluation_that_is_stopped_keeps_the_agents_that_are_done(evaluation) -> None:
    whole = evaluation()
    assert evaluation.played == ["evaluate random", "evaluate teacher"]
    assert list(evaluation.kept.iterdir()) == []
    with pytest.raises(Interrupted):
        evaluation(stop_in="teacher")
    assert evaluation() == whole
    assert evaluation.played == ["evaluate teacher"]
    assert list(evaluation.kept.iterdir()) == []
    evaluation()
    assert evaluation.played == ["evaluate random", "evaluate teacher"]  # a new evaluation plays all anew


@pytest.mark.parametrize("change", [{"seed": SEED + 1}, {"episodes": 5}, {"epsilon": 0.5}, {"num_envs": 3}])
def test_episodes_of_another_protocol_are_not_taken_over(evaluation, change) -> None:
    with pytest.raises(Interrupted):
        evaluation(stop_in="teacher")
    played = evaluation(**change)
    expected = ["evaluate random", "evaluate teacher"] if set(change) != {"epsilon"} else ["evaluate teacher"]
    assert evaluation.played == expected  # random play has no epsilon
    assert played == evaluation(**change)


def test_episodes_of_other_weights_are_not_taken_over(evaluation, folder, tmp_path) -> None:
    with pytest.raises(CheckpointError):
        evaluation(student=tmp_path / "missing")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["episodes.random.json", "episodes.teacher.json"]
    other = shutil.copytree(folder, tmp_path / "other")
    weights = load_file(other / "network.safetensors")
    save_file({name: -tensor for name, tensor in weights.items()}, other / "network.safetensors")
    evaluation.folder = other
    evaluation()
    assert evaluation.played == ["evaluate teacher"]


@pytest.mark.parametrize("content", ["", "{}", '{"identity": 3, "episodes": []}', "null"])
def test_a_damaged_file_of_kept_episodes_is_played_again(evaluation, content: str) -> None:
    whole = evaluation()
    with pytest.raises(Interrupted):
        evaluation(stop_in="teacher")
    (evaluation.kept / "episodes.random.json").write_text(content)
    assert evaluation() == whole
    assert evaluation.played == ["evaluate random", "evaluate teacher"]
