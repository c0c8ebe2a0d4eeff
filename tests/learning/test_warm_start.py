"""Warm start: the weights of another policy, its novelty and scales; counters anew, and what does not fit is said."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from meme57.actors.local_pool import LocalPool
from meme57.blueprint import agent_spec
from meme57.envs import env_spec
from meme57.errors import CheckpointError, ConfigurationError
from meme57.learning.learner import Learner
from meme57.learning.seed_replay import SEED_ACTOR, collect_seed_replay, load_seed_replay
from meme57.learning.trainer import Trainer, learn
from meme57.learning.warm_start import initial_weights, keep_initial_policy, start_learner

WARM = {"init_from": "somewhere"}
SHORT = {"total_frames": 800, "checkpoint_period_frames": 400}


@pytest.fixture(scope="module", name="source")
def _source(make_parameters, tmp_path_factory) -> Path:
    """The last checkpoint of a short run, frames centred and scales measured."""
    parameters = make_parameters(run=SHORT)
    events = list(learn(parameters, env_spec(parameters.env), tmp_path_factory.mktemp("source")))
    assert events[-1].updates > 0
    assert events[-1].checkpoint is not None
    return events[-1].checkpoint.folder


@pytest.fixture(name="kept")
def _kept(source, tmp_path) -> Path:
    keep_initial_policy(lambda: source, tmp_path / "initial_policy", named="somewhere")
    return tmp_path / "initial_policy"


def make_learner(parameters) -> Learner:
    return Learner(parameters, agent_spec(parameters, env_spec(parameters.env)))


def files_of(learner: Learner, *names: str) -> dict[str, torch.Tensor]:
    return {f"{name}.{key}": value for name in names for key, value in learner.tensors()[name].items()}


def source_files(folder: Path, *names: str) -> dict[str, torch.Tensor]:
    files = {name: load_file(folder / f"{name}.safetensors") for name in names}
    return {f"{name}.{key}": value for name, tensors in files.items() for key, value in tensors.items()}


def test_weights_novelty_and_scales_are_the_sources_and_the_counters_are_new(make_parameters, source, kept) -> None:
    learner = make_learner(make_parameters(run=WARM | {"seed": 5}))
    start_learner(learner, kept)
    expected, found = (
        source_files(source, "network", "novelty", "scales"),
        files_of(learner, "network", "novelty", "scales"),
    )
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=0, msg=name)
    for name, value in learner.target.state_dict().items():
        torch.testing.assert_close(value, learner.network.state_dict()[name], rtol=0, atol=0, msg=name)
    assert learner.num_updates == 0
    assert not learner.optimiser.state
    assert learner.has_fitted_frames


def test_the_first_episodes_are_embedded_by_the_sources_network(make_parameters, source, kept, tmp_path) -> None:
    """An episode keeps the embedding network that it began with: those of the pool's first ones would be random."""
    parameters = make_parameters(run=SHORT | WARM)
    env = env_spec(parameters.env)
    spec = agent_spec(parameters, env)
    pool = LocalPool(parameters, env, spec, index=SEED_ACTOR)
    pool.begin_with(*initial_weights(spec, kept, seed=parameters.run.seed), 0)
    assert [sum(bandit["pending"]) for actor in pool.state_dict()["actors"] for bandit in actor["bandits"]] == [1] * 4
    expected = pool.collect(4 * parameters.replay.period).chunks
    pool.close()
    collect_seed_replay(parameters, env, tmp_path / "seed", initial_policy=kept)
    found, _ = load_seed_replay(parameters, tmp_path / "seed")
    by_name = {(chunk.actor, chunk.episode, chunk.index): chunk for chunk in found}
    assert expected
    for chunk in expected:
        same = by_name[chunk.actor, chunk.episode, chunk.index]
        np.testing.assert_array_equal(same.steps.embedding, chunk.steps.embedding)
    trainer = Trainer(parameters, env, tmp_path / "run")
    before = trainer.state.pool.state_dict()["actors"][0]
    trainer._begin(None, kept)
    after = trainer.state.pool.state_dict()["actors"][0]
    assert after["generation"] == before["generation"] + 1  # they began again, after the weights had come
    trainer.state.pool.close()


def test_a_source_that_was_not_centred_stays_so(make_parameters, tmp_path) -> None:
    raw = make_parameters(run=SHORT, network={"centre_frames": False})
    source = list(learn(raw, env_spec(raw.env), tmp_path / "source"))[-1].checkpoint
    assert source is not None
    keep_initial_policy(lambda: source.folder, tmp_path / "kept", named="somewhere")
    parameters = make_parameters(run=SHORT | WARM)
    trainer = Trainer(parameters, env_spec(parameters.env), tmp_path / "run")
    events = trainer.run(initial_policy=tmp_path / "kept")
    while trainer.state.learner.num_updates == 0:
        next(events)
    events.close()
    assert not trainer.state.learner.has_fitted_frames


def test_the_frames_stay_centred_as_the_source_saw_them(make_parameters, source, kept, tmp_path) -> None:
    parameters = make_parameters(run=SHORT | WARM)
    trainer = Trainer(parameters, env_spec(parameters.env), tmp_path / "run")
    events = trainer.run(initial_policy=kept)
    while trainer.state.learner.num_updates == 0:
        next(events)
    mean = source_files(source, "network")["network.frames.mean"]
    torch.testing.assert_close(trainer.state.learner.network.frames.mean, mean, rtol=0, atol=0)
    events.close()


def test_the_actors_play_with_those_weights_before_there_is_a_learner(make_parameters, source, kept, tmp_path) -> None:
    parameters = make_parameters(run=WARM)
    spec = agent_spec(parameters, env_spec(parameters.env))
    network, novelty = initial_weights(spec, kept, seed=1)
    expected = source_files(source, "network", "novelty")
    assert {f"network.{k}" for k in network} | {f"novelty.{k}" for k in novelty} == expected.keys()
    assert all(torch.equal(value, expected[f"network.{key}"]) for key, value in network.items())
    warm = collect_seed_replay(parameters, env_spec(parameters.env), tmp_path / "warm", initial_policy=kept)
    cold = collect_seed_replay(make_parameters(), env_spec(parameters.env), tmp_path / "cold", initial_policy=kept)
    plain = collect_seed_replay(make_parameters(), env_spec(parameters.env), tmp_path / "plain")
    assert cold["sha256"] == plain["sha256"] != warm["sha256"]


def test_what_does_not_fit_starts_anew_and_is_said(make_parameters, source, kept, caplog) -> None:
    learner = make_learner(make_parameters(run=WARM, network={"head_size": 12}))
    before = files_of(learner, "network")
    with caplog.at_level(logging.INFO):
        start_learner(learner, kept)
    found, expected = files_of(learner, "network"), source_files(source, "network")
    fits = {name for name, value in expected.items() if value.shape == found[name].shape}
    assert 0 < len(fits) < len(found)
    for name, value in found.items():
        assert torch.equal(value, expected[name] if name in fits else before[name]), name
    [line] = [record.message for record in caplog.records]
    assert line.startswith("starts with the weights of somewhere (Corridor, checkpoint-000002); these do not fit")
    for part in ("values", "policies"):
        assert f"{part} ({sum(name.startswith(f'network.{part}') for name in found.keys() - fits)} tensors)" in line
    assert "torso" not in line


def test_scales_of_another_number_of_policies_start_anew(make_parameters, kept, caplog) -> None:
    learner = make_learner(make_parameters(run=WARM, family={"num_policies": 2}))
    with caplog.at_level(logging.INFO):
        start_learner(learner, kept)
    assert not any(scale.std.any() for scale in learner.scales.values())
    assert caplog.records[-1].message.startswith("the scales of the TD errors start anew: moments [2, 3]")


def test_nothing_that_fits_is_one_line(make_parameters, kept) -> None:
    other = make_learner(
        make_parameters(
            run=WARM, network={"small_channels": [5, 6], "lstm_size": 12, "head_size": 12, "feature_size": 12,
            "action_embedding_size": 6},
        )
    )  # fmt: skip
    with pytest.raises(ConfigurationError, match="no matrix of its network fits this one: take the same network"):
        start_learner(other, kept)


def test_the_copy_outlives_its_source(make_parameters, source, tmp_path) -> None:
    moved = shutil.copytree(source, tmp_path / source.name)
    first = keep_initial_policy(lambda: moved, tmp_path / "initial_policy", named="moved")
    shutil.rmtree(moved)
    assert keep_initial_policy(lambda: moved, tmp_path / "initial_policy", named="moved") == first
    start_learner(make_learner(make_parameters(run=WARM)), tmp_path / "initial_policy")
    assert first["checkpoint"] == "checkpoint-000002"
    assert len(first["sha256"]) == 64


def test_another_source_replaces_the_copy(make_parameters, source, kept, tmp_path) -> None:
    other = shutil.copytree(source, tmp_path / source.name)
    changed = {name: 2 * value for name, value in load_file(source / "network.safetensors").items()}
    save_file(changed, other / "network.safetensors")
    (other / "manifest.json").unlink()  # as the data of a registered teacher
    record = keep_initial_policy(lambda: other, kept, named="other")
    assert record["source"] == "other"
    learner = make_learner(make_parameters(run=WARM))
    start_learner(learner, kept)
    assert all(torch.equal(value, changed[name]) for name, value in learner.network.state_dict().items())


@pytest.mark.parametrize("damage", ["network.safetensors", "manifest.json"])
def test_a_damaged_source_is_refused(source, tmp_path, damage: str) -> None:
    moved = shutil.copytree(source, tmp_path / source.name)
    content = bytearray((moved / damage).read_bytes())
    content[-20] ^= 1
    (moved / damage).write_bytes(content)
    with pytest.raises(CheckpointError):
        keep_initial_policy(lambda: moved, tmp_path / "initial_policy", named="moved")
    assert not (tmp_path / "initial_policy").exists()


def test_a_student_is_no_source(tmp_path) -> None:
    (tmp_path / "student").mkdir()
    with pytest.raises(ConfigurationError, match=r"run.init_from=mine is no teacher .* lacks network.safetensors"):
        keep_initial_policy(lambda: tmp_path / "student", tmp_path / "initial_policy", named="mine")


@pytest.mark.parametrize("tree", ["{}", "[]", '{"env": 1}'])
def test_a_folder_without_a_manifest_must_name_its_game(source, tmp_path, tree: str) -> None:
    moved = shutil.copytree(source, tmp_path / "teacher")
    (moved / "manifest.json").unlink()
    (moved / "agent.json").write_text(tree)
    with pytest.raises(CheckpointError, match=r"agent.json is damaged: it names no game"):
        keep_initial_policy(lambda: moved, tmp_path / "initial_policy", named="moved")


@pytest.mark.parametrize("name", ["network.safetensors", "record.json"])
def test_a_damaged_copy_says_what_to_delete(make_parameters, kept, name: str) -> None:
    (kept / name).write_bytes((kept / name).read_bytes()[:-9])
    with pytest.raises(CheckpointError, match="is damaged"):
        start_learner(make_learner(make_parameters(run=WARM)), kept)


def test_a_resumed_run_does_not_begin_again(make_parameters, kept, tmp_path) -> None:
    parameters = make_parameters(run=SHORT | WARM)
    env = env_spec(parameters.env)
    events = learn(parameters, env, tmp_path / "run", initial_policy=kept)
    learned = next(event for event in events if event.checkpoint is not None and event.updates > 0)
    events.close()
    resumed = Trainer(parameters, env, tmp_path / "run")
    stream = resumed.run(initial_policy=kept)
    assert next(stream).updates == learned.updates == resumed.state.learner.num_updates
    stream.close()
