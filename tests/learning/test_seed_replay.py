"""The seed replay: collected once, kept when it matches, refused when foreign or damaged."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from meme57.actors import Collected, make_pool
from meme57.blueprint import make_replay
from meme57.config.identity import seed_settings
from meme57.envs import env_spec
from meme57.errors import ConfigurationError, Interrupted, ReplayError, StorageError
from meme57.learning.seed_replay import collect_seed_replay, load_seed_replay


@pytest.fixture(scope="module", name="collected")
def _collected(make_parameters, tmp_path_factory) -> tuple[Any, Path, dict[str, Any], list[tuple[int, int]]]:
    parameters, folder = make_parameters(), tmp_path_factory.mktemp("seed")
    progress: list[tuple[int, int]] = []
    record = collect_seed_replay(
        parameters, env_spec(parameters.env), folder, progress=lambda done, total: progress.append((done, total))
    )
    return parameters, folder, record, progress


def test_what_the_record_says_is_so(collected) -> None:
    parameters, folder, record, progress = collected
    chunks, loaded = load_seed_replay(parameters, folder)
    assert loaded == record == json.loads((folder / "record.json").read_text())
    assert len(chunks) == record["chunks"]
    assert sum(chunk.num_steps for chunk in chunks) == record["steps"]
    assert record["frames"] == 4 * record["steps"]
    assert record["bytes"] == (folder / "chunks.safetensors").stat().st_size
    replay = make_replay(parameters, env_spec(parameters.env))
    assert replay.add(chunks) == record["sequences"] >= parameters.replay.min_sequences
    assert progress[-1] == (12, 12)
    assert {chunk.weight_version for chunk in chunks} == {0}


def test_steps_that_a_lost_actor_never_sent_count_as_frames_alone(make_parameters, tmp_path, monkeypatch) -> None:
    """The open chunk of a lost Ray actor is gone, and its steps were reported before."""
    parameters = make_parameters()

    def make(*arguments: Any, **options: Any) -> Any:
        pool = make_pool(*arguments, **options)
        collect = pool.collect

        def lose_some(*rounds: Any, **how: Any) -> Collected:
            collected = collect(*rounds, **how)
            collected.num_steps += 7
            return collected

        pool.collect = lose_some
        return pool

    monkeypatch.setattr("meme57.learning.seed_replay.make_pool", make)
    record = collect_seed_replay(parameters, env_spec(parameters.env), tmp_path)
    chunks, loaded = load_seed_replay(parameters, tmp_path)
    assert loaded == record
    lost, rest = divmod(record["frames"] - 4 * sum(chunk.num_steps for chunk in chunks), 4 * 7)
    assert (lost > 0, rest) == (True, 0)


def test_an_error_of_the_game_is_not_told_as_one_of_the_disk(make_parameters, tmp_path, monkeypatch) -> None:
    def make(*_: Any, **__: Any) -> Any:
        raise FileNotFoundError("level.map")

    monkeypatch.setattr("meme57.learning.seed_replay.make_pool", make)
    parameters = make_parameters()
    with pytest.raises(FileNotFoundError, match=r"^level\.map$"):
        collect_seed_replay(parameters, env_spec(parameters.env), tmp_path)


def test_a_matching_one_is_kept(collected) -> None:
    parameters, folder, record, _ = collected
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert collect_seed_replay(parameters, env_spec(parameters.env), folder) == record
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_the_same_seed_collects_the_same_bytes(collected, tmp_path) -> None:
    parameters, _, record, _ = collected
    assert collect_seed_replay(parameters, env_spec(parameters.env), tmp_path)["sha256"] == record["sha256"]


def test_another_configuration_collects_anew_and_is_refused_by_load(collected, make_parameters, tmp_path) -> None:
    parameters, folder, record, _ = collected
    other = make_parameters(run={"seed": 2})
    with pytest.raises(ReplayError, match=r"collected with other settings \(seed 1, now 2\): collect it with"):
        load_seed_replay(other, folder)
    assert collect_seed_replay(other, env_spec(other.env), tmp_path)["sha256"] != record["sha256"]
    assert collect_seed_replay(parameters, env_spec(parameters.env), tmp_path)["sha256"] == record["sha256"]


@pytest.mark.parametrize("damage", ["one bit", "no chunks", "broken record"])
def test_damage_is_refused_and_collecting_mends_it(collected, tmp_path, damage: str) -> None:
    parameters, folder, record, _ = collected
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    chunks = tmp_path / "chunks.safetensors"
    if damage == "one bit":
        data = chunks.read_bytes()
        chunks.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif damage == "no chunks":
        chunks.unlink()
    else:
        (tmp_path / "record.json").write_text("{")
    with pytest.raises(Exception, match=r"damaged|missing") as caught:
        load_seed_replay(parameters, tmp_path)
    assert type(caught.value).__module__ == "meme57.errors"
    assert "\n" not in str(caught.value)
    assert collect_seed_replay(parameters, env_spec(parameters.env), tmp_path) == record


def test_nothing_there_says_what_to_type(make_parameters, tmp_path) -> None:
    with pytest.raises(ReplayError, match=r"no seed replay in .*: collect it with `kedro run --pipelines collect`"):
        load_seed_replay(make_parameters(), tmp_path / "nowhere")


def test_collecting_ends_with_the_frames_of_the_run(make_parameters, tmp_path) -> None:
    parameters = make_parameters(run={"total_frames": 100}, replay={"min_sequences": 200})
    with pytest.raises(
        ConfigurationError, match=r"the seed replay has \d,?\d* frames and run.total_frames=100 leaves none"
    ):
        collect_seed_replay(parameters, env_spec(parameters.env), tmp_path)
    assert not (tmp_path / "record.json").exists()


def test_a_stop_writes_nothing(make_parameters, tmp_path) -> None:
    parameters = make_parameters()
    with pytest.raises(Interrupted):
        collect_seed_replay(parameters, env_spec(parameters.env), tmp_path, stop=lambda: True)
    assert list(tmp_path.iterdir()) == []


def test_the_learners_settings_do_not_matter(make_parameters) -> None:
    base = seed_settings(make_parameters())
    assert seed_settings(make_parameters(learner={"learning_rate": 0.1})) == base
    assert seed_settings(make_parameters(loss={"lambda": 0.1})) == base
    assert seed_settings(make_parameters(env={"num_threads": 2})) == base
    assert seed_settings(make_parameters(bandit={"window": 3})) != base


def test_all_that_shapes_the_experience_is_in_the_settings(make_parameters, tmp_path) -> None:
    # without distillation actors follow Q instead of the policy heads
    acting_on_logits, acting_on_values = make_parameters(), make_parameters(loss={"distil_policy": False})
    records = [
        collect_seed_replay(p, env_spec(p.env), tmp_path / str(i))
        for i, p in enumerate((acting_on_logits, acting_on_values))
    ]
    assert records[0]["sha256"] != records[1]["sha256"]
    assert seed_settings(acting_on_logits) != seed_settings(acting_on_values)


def test_other_settings_are_named(collected, make_parameters) -> None:
    _, folder, _, _ = collected
    with pytest.raises(ReplayError, match=r"other settings \(bandit\.window 160, now 3\): collect it with"):
        load_seed_replay(make_parameters(bandit={"window": 3}), folder)


def test_a_round_of_hours_is_capped_by_what_is_missing_and_can_be_stopped(make_parameters, tmp_path) -> None:
    parameters = make_parameters(actors={"weights_period_steps": 10_000_000})
    record = collect_seed_replay(parameters, env_spec(parameters.env), tmp_path / "seed")
    assert 12 <= record["sequences"] < 3 * 12
    many = {"min_sequences": 100_000, "capacity_sequences": 100_000}
    stopped = make_parameters(actors={"weights_period_steps": 10_000_000}, replay=many, env={"num_envs": 1})
    asked = iter([*[False] * 5, *[True] * 2])
    with pytest.raises(Interrupted):
        collect_seed_replay(stopped, env_spec(stopped.env), tmp_path / "other", stop=lambda: next(asked))
    assert list((tmp_path / "other").iterdir()) == []


def test_one_that_cannot_be_read_now_is_not_collected_again(collected, monkeypatch) -> None:
    parameters, folder, _, _ = collected
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}

    def refuse(path: Path) -> str:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("meme57.learning.seed_replay.checksum", refuse)
    with pytest.raises(StorageError, match=r"chunks\.safetensors cannot be read \(Input/output error\)"):
        collect_seed_replay(parameters, env_spec(parameters.env), folder)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_torch_computes_on_the_threads_of_the_parameters(make_parameters, tmp_path) -> None:
    """Two threads on two busy cores are many times slower than one; torch's default is one a core."""
    parameters, seen, before = make_parameters(), set(), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        collect_seed_replay(
            parameters, env_spec(parameters.env), tmp_path, progress=lambda *_: seen.add(torch.get_num_threads())
        )
    finally:
        torch.set_num_threads(before)
    assert seen == {1}
