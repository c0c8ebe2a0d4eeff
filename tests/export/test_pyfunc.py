"""What MLflow loads acts as the live policy does; what is damaged is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from meme57.actors import Player
from meme57.envs import make_env
from meme57.errors import CheckpointError, Meme57Error
from meme57.export.pyfunc import load_policy
from meme57.learning.policies import StudentPolicy, Teacher, load_student
from meme57.tracking.pyfunc import save_policy_model

NUM_ENVS, STEPS = 2, 150


def through_mlflow(folder: Path, target: Path, example: dict[str, np.ndarray] | None = None):
    """Saved as `register` saves it, and loaded as anybody loads it."""
    policy = load_policy(folder)
    example = policy.example() if example is None else example
    save_policy_model(
        target,
        data_path=folder,
        loader_module="meme57.export.pyfunc",
        inputs=example,
        outputs=policy.predict(example),
        pip_requirements=("meme57",),
    )
    assert {path.suffix for path in (target / "data").rglob("*") if path.is_file()} <= {".json", ".safetensors"}
    return mlflow.pyfunc.load_model(str(target))


def as_older_releases_asked(player: Player, state: np.ndarray) -> dict[str, np.ndarray]:
    """The novelty that it had earned, in the place of the episode's memory."""
    inputs = {name: np.asarray(value) for name, value in player.inputs._asdict().items()}
    return {"frame": player.observation, **inputs, "embedding": inputs["embedding"].astype(np.float32), "state": state}


def test_a_teacher_of_an_older_release_acts_as_the_live_player(teacher_folder, tmp_path, pong) -> None:
    live = Teacher.load(teacher_folder).player(NUM_ENVS)
    env = make_env(pong, num_envs=NUM_ENVS)
    live.begin(env.reset(seed=5))
    rng = np.random.default_rng(0)
    state = np.zeros((NUM_ENVS, 2, 16), np.float32)
    model = through_mlflow(teacher_folder, tmp_path / "model", as_older_releases_asked(live._player, state))
    seen, resets, novel = set(), 0, 0.0
    for _ in range(STEPS):
        player = live._player
        inputs = as_older_releases_asked(player, state)
        output = model.predict(inputs)
        expected = live.act()
        np.testing.assert_array_equal(output["action"], expected)
        np.testing.assert_allclose(output["state"].transpose(1, 0, 2), player.state.numpy(), atol=1e-6)
        actions = np.where(rng.random(NUM_ENVS) < 0.3, rng.integers(pong.num_actions, size=NUM_ENVS), expected)
        result = env.step(actions)
        live.observe(actions, result)
        state = output["state"].copy()
        state[result.is_reset] = 0.0
        seen |= set(expected.tolist())
        resets += int(result.is_reset.sum())
        novel += float(inputs["intrinsic"].sum())
    assert len(seen) >= 2
    assert resets >= 2  # 240 frames are 60 steps an episode
    assert novel > 0
    env.close()


def test_student_through_mlflow_acts_as_the_live_student(student_folder, tmp_path, pong) -> None:
    model = through_mlflow(student_folder, tmp_path / "model")
    live = StudentPolicy(load_student(student_folder), NUM_ENVS)
    env = make_env(pong, num_envs=NUM_ENVS)
    live.begin(env.reset(seed=5))
    rng = np.random.default_rng(0)
    state = np.zeros((NUM_ENVS, 2, 16), np.float32)
    seen, resets = set(), 0
    for _ in range(STEPS):
        inputs = {"frame": live.observation, "action": live.actions, "reward": live.rewards, "state": state}
        output = model.predict(inputs)
        expected = live.act()
        np.testing.assert_array_equal(output["action"], expected)
        actions = np.where(rng.random(NUM_ENVS) < 0.3, rng.integers(pong.num_actions, size=NUM_ENVS), expected)
        result = env.step(actions)
        live.observe(actions, result)
        state = output["state"].copy()
        state[result.is_reset] = 0.0
        seen |= set(expected.tolist())
        resets += int(result.is_reset.sum())
    assert len(seen) >= 2
    assert resets >= 2
    env.close()


def test_teacher_without_distilled_policy_acts_on_its_values(teacher_folder) -> None:
    weights = load_file(teacher_folder / "network.safetensors")
    weights["policies.bias"][0, 0, 5] += 1_000.0  # the distilled policy would always choose action 5
    save_file(weights, teacher_folder / "network.safetensors")
    assert set(load_policy(teacher_folder).predict(_many(teacher_folder))["action"].tolist()) == {5}
    tree = json.loads((teacher_folder / "agent.json").read_text())
    (teacher_folder / "agent.json").write_text(json.dumps({**tree, "distil_policy": False}))
    inputs, live = _many(teacher_folder), Teacher.load(teacher_folder).player(64)
    live.begin(inputs["frame"])
    found = load_policy(teacher_folder).predict(inputs)["action"]
    np.testing.assert_array_equal(found, live.act())
    assert 5 not in found


def test_weights_of_before_there_was_a_choice_of_network_are_read_as_they_were_meant(teacher_folder) -> None:
    tree = json.loads((teacher_folder / "agent.json").read_text())
    assert Teacher.load(teacher_folder).network.spec.normalise_heads
    newer = {"normalise_heads", "balance_inputs", "centre_frames"}
    older = {key: value for key, value in tree["network"].items() if key not in newer}
    (teacher_folder / "agent.json").write_text(json.dumps({**tree, "network": older}))
    spec = Teacher.load(teacher_folder).network.spec
    assert (spec.normalise_heads, spec.balance_inputs) == (False, False)


def test_a_torso_that_is_not_built_in_is_refused(teacher_folder) -> None:
    tree = json.loads((teacher_folder / "agent.json").read_text())
    tree["network"]["torso"] = "os:system"
    (teacher_folder / "agent.json").write_text(json.dumps(tree))
    with pytest.raises(CheckpointError, match=r"agent\.json names the torso os:system, which is code that"):
        Teacher.load(teacher_folder)


def _many(folder: Path) -> dict[str, np.ndarray]:
    """The first step of 64 episodes."""
    inputs = {name: np.repeat(value[:1], 64, 0) for name, value in load_policy(folder).example().items()}
    return {**inputs, "frame": np.random.default_rng(0).integers(0, 256, inputs["frame"].shape, np.uint8)}


def test_batch_size_and_memory_layout_are_free(student_folder) -> None:
    policy = load_policy(student_folder)
    example = policy.example()
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (36, 36, 5), np.uint8).transpose(2, 0, 1)  # not contiguous
    whole = policy.predict({**{name: np.repeat(value[:1], 5, 0) for name, value in example.items()}, "frame": frames})
    for i in range(5):
        one = policy.predict({**{name: value[:1] for name, value in example.items()}, "frame": frames[i : i + 1]})
        np.testing.assert_array_equal(one["action"], whole["action"][i : i + 1])
        np.testing.assert_allclose(one["state"], whole["state"][i : i + 1], atol=1e-5)  # another order of summing


@pytest.mark.parametrize("kind", ["teacher", "student"])
def test_a_missing_input_is_named(request, kind: str) -> None:
    policy = load_policy(request.getfixturevalue(f"{kind}_folder"))
    inputs = policy.example()
    del inputs["reward"]
    with pytest.raises(Meme57Error, match="the input 'reward' is missing"):
        policy.predict(inputs)


def _remove(path: Path) -> None:
    path.unlink()


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _scribble(path: Path) -> None:
    path.write_text("{}")


@pytest.mark.parametrize("damage", [_remove, _cut, _scribble])
@pytest.mark.parametrize("name", ["agent.json", "network.safetensors", "novelty.safetensors"])
def test_damaged_teacher_is_refused_by_name(teacher_folder, damage, name: str) -> None:
    damage(teacher_folder / name)
    with pytest.raises(CheckpointError, match=name) as caught:
        load_policy(teacher_folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", [_remove, _cut, _scribble])
def test_damaged_student_is_refused_by_name(student_folder, damage) -> None:
    damage(student_folder / "student.json")
    with pytest.raises(CheckpointError, match=r"student\.json"):
        load_policy(student_folder)


@pytest.mark.parametrize("damage", [_cut, _scribble])
def test_damaged_student_weights_are_refused_by_name(student_folder, damage) -> None:
    damage(student_folder / "student.safetensors")
    with pytest.raises(CheckpointError, match=r"student\.safetensors"):
        load_policy(student_folder)


def test_weights_of_another_shape_are_refused(student_folder) -> None:
    tree = json.loads((student_folder / "student.json").read_text())
    (student_folder / "student.json").write_text(json.dumps({**tree, "lstm_size": 8}))
    with pytest.raises(CheckpointError, match="does not fit its network"):
        load_policy(student_folder)


def test_prediction_leaves_no_gradient_behind(student_folder) -> None:
    policy = load_policy(student_folder)
    policy.predict(policy.example())
    assert torch.is_grad_enabled()
    assert all(parameter.grad is None for parameter in policy._step.network.parameters())
