"""Every file of a checkpoint and of its replay, damaged in turn: the one before, or a refusal; never a wrong resume."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
from safetensors.torch import load_file, save_file

from meme57 import files
from meme57.envs import env_spec
from meme57.errors import CheckpointError, Meme57Error, NonFiniteLossError, RunConflictError, StorageError
from meme57.files import checksum, tree_digest
from meme57.learning.trainer import Trainer
from meme57.lock import hold

RUN = {"total_frames": 2_400, "checkpoint_period_frames": 1_200, "log_period_frames": 600, "exact_resume": True}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-3]),
    "flipped": flip,
    "deleted": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
}


def knowledge(trainer: Trainer) -> dict[str, Any]:
    tensors = {
        f"{name}.{key}": value.contiguous().numpy().tobytes()
        for name, file in trainer.state.learner.tensors().items()
        for key, value in file.items()
    }
    tables = {name: array.tobytes() for name, array in trainer.state.replay.contents()[0].items()}
    return {**tensors, **tables, "frames": trainer.state.frames, "random": trainer.state.rng.bit_generator.state}


def restored(parameters: Any, folder: Path) -> Trainer:
    """A trainer right after it took over the newest checkpoint that it could use."""
    trainer = Trainer(parameters, env_spec(parameters.env), folder)
    stream = trainer.run()
    assert next(stream).checkpoint is not None
    stream.close()  # type: ignore[attr-defined]
    return trainer


def attempt(parameters: Any, folder: Path, caplog: pytest.LogCaptureFixture) -> tuple[str, Trainer | None]:
    try:
        with caplog.at_level(logging.WARNING):
            return "", restored(parameters, folder)
    except Meme57Error as error:
        return str(error), None


@pytest.fixture(scope="module")
def trained(make_parameters, tmp_path_factory):
    """A run with two checkpoints, and what each of them knows."""
    parameters, folder = make_parameters(run=RUN), tmp_path_factory.mktemp("trained")
    list(Trainer(parameters, env_spec(parameters.env), folder).run())
    whole = knowledge(restored(parameters, folder))
    first = folder.with_name("first")
    shutil.copytree(folder, first)
    shutil.rmtree(first / "checkpoint-000002")
    return parameters, folder, whole, knowledge(restored(parameters, first))


def files_of_the_newest(folder: Path) -> list[str]:
    index = json.loads((folder / "checkpoint-000002" / "state.json").read_text())["replay"]
    replay = [index["tables"]["file"], *(segment["file"] for segment in index["segments"])]
    inside = [f"checkpoint-000002/{path.name}" for path in sorted((folder / "checkpoint-000002").iterdir())]
    return [*inside, *(f"replay/{name}" for name in replay)]


@pytest.mark.parametrize("damage", DAMAGE)
def test_every_file_of_the_newest_checkpoint(trained, tmp_path, caplog, damage: str) -> None:
    parameters, folder, whole, first = trained
    names, outcomes = files_of_the_newest(folder), {}
    assert len(names) >= 12
    assert whole["frames"] > first["frames"]
    for number, name in enumerate(names):
        copy = tmp_path / str(number)
        shutil.copytree(folder, copy)
        DAMAGE[damage](copy / name)
        caplog.clear()
        error, trainer = attempt(parameters, copy, caplog)
        if trainer is None:
            assert "\n" not in error
            assert "run.fresh=true" in error
            outcomes[name] = "refused"
            continue
        assert knowledge(trainer) == first, name
        assert "set aside as damaged-checkpoint-000002" in caplog.text
        outcomes[name] = "the one before"
    shared = [name for name in names if outcomes[name] == "refused"]
    assert all(name.startswith("replay/segment-") for name in shared)  # a segment that both checkpoints need
    assert len(shared) < len(names) - 10


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_to_both_checkpoints_is_refused_and_nothing_is_touched(trained, tmp_path, damage: str) -> None:
    parameters, folder, *_ = trained
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    for number in (1, 2):
        DAMAGE[damage](copy / f"checkpoint-00000{number}" / "target.safetensors")
    before = {path: checksum(path) for path in copy.rglob("*") if path.is_file()}
    with pytest.raises(CheckpointError, match=r"none of the 2 checkpoints .* can be used"):
        restored(parameters, copy)
    assert {path: checksum(path) for path in copy.rglob("*") if path.is_file()} == before


def resign(folder: Path) -> None:
    """Makes the manifest agree with the files again, as only somebody who writes them on purpose can."""
    path = folder / "manifest.json"
    tree = json.loads(path.read_text())
    tree.pop("sha256")
    tree["files"] = {name: checksum(folder / name) for name in tree["files"]}
    path.write_text(json.dumps({**tree, "sha256": tree_digest(tree)}))


STATES: dict[str, Callable[[dict[str, Any]], object]] = {
    "a list": lambda state: [],
    "frames as text": lambda state: state | {"frames": "1200"},
    "negative frames": lambda state: state | {"frames": -4},
    "no limiter": lambda state: {key: value for key, value in state.items() if key != "limiter"},
    "half a limiter": lambda state: state | {"limiter": {"drawn": 1}},
    "random state of nothing": lambda state: state | {"random": {}},
    "random state of another generator": lambda state: (
        state | {"random": state["random"] | {"bit_generator": "MT19937"}}
    ),
    "no actors": lambda state: state | {"pool": {"actors": []}},
    "actors of another kind": lambda state: state | {"pool": {"actors": [{"generation": "x"}]}},
    "replay of nothing": lambda state: state | {"replay": {}},
    "returns that are no numbers": lambda state: state | {"statistics": {"num_episodes": 1, "exploit_returns": ["a"]}},
}


@pytest.mark.parametrize("name", STATES)
def test_a_foreign_state_with_right_checksums(trained, tmp_path, name: str) -> None:
    parameters, folder, _, first = trained
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    path = copy / "checkpoint-000002" / "state.json"
    path.write_text(json.dumps(STATES[name](json.loads(path.read_text()))))
    resign(path.parent)
    assert knowledge(restored(parameters, copy)) == first


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        torch.AcceleratorError("CUDA error: device-side assert triggered"),
        RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_a_cards_trouble_is_no_damage_of_the_checkpoint(trained, monkeypatch, tmp_path, error: Exception) -> None:
    """Else the newest checkpoint would be renamed, and its progress lost."""
    parameters, folder, *_ = trained
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)

    def load(*_: Any) -> None:
        raise error

    trainer = Trainer(parameters, env_spec(parameters.env), copy)
    monkeypatch.setattr(trainer.state.pool, "restore", load)
    with pytest.raises(type(error)):
        list(trainer.run())
    assert (copy / "checkpoint-000002").is_dir()


def test_an_environment_that_fails_to_begin_is_no_damage_of_the_checkpoint(trained, monkeypatch, tmp_path) -> None:
    parameters, folder, *_ = trained
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)

    def reset(*_: Any, **__: Any) -> None:
        raise ValueError("the simulator's licence server does not answer")

    trainer = Trainer(parameters, env_spec(parameters.env), copy)
    monkeypatch.setattr(trainer.state.pool._actors[0]._env, "reset", reset)
    with pytest.raises(ValueError, match="licence server"):
        list(trainer.run())
    assert (copy / "checkpoint-000002").is_dir()


TENSORS: dict[str, Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]] = {
    "one missing": lambda tensors: dict(list(tensors.items())[1:]),
    "another shape": lambda tensors: {
        key: value[..., :-1] if value.ndim else value[None] for key, value in tensors.items()
    },
    "other names": lambda tensors: {f"x.{key}": value for key, value in tensors.items()},
    "nothing": lambda tensors: {},
}


@pytest.mark.parametrize(
    ("file", "name"),
    [
        (file, name)
        for file in ("network", "target", "novelty", "optimiser", "novelty_optimiser", "scales")
        for name in TENSORS
        if (file, name) != ("novelty_optimiser", "nothing")  # a run without novelty has none
    ],
)
def test_foreign_tensors_with_right_checksums(trained, tmp_path, file: str, name: str) -> None:
    parameters, folder, _, first = trained
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    path = copy / "checkpoint-000002" / f"{file}.safetensors"
    save_file({key: value.contiguous() for key, value in TENSORS[name](load_file(path)).items()}, path)
    resign(path.parent)
    assert knowledge(restored(parameters, copy)) == first


def test_a_disk_that_fills_up_while_a_checkpoint_is_written(make_parameters, tmp_path, monkeypatch) -> None:
    parameters = make_parameters(run=RUN)
    whole = Trainer(parameters, env_spec(parameters.env), tmp_path / "whole")
    list(whole.run())
    stopped = Trainer(parameters, env_spec(parameters.env), tmp_path / "stopped")
    stream = stopped.run()
    while next(stream).checkpoint is None:
        pass
    written = {path: checksum(path) for path in (tmp_path / "stopped").glob("checkpoint-*/*")}
    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", _full_for(".checkpoint-000002.tmp", patch))
        with pytest.raises(
            StorageError, match=r"checkpoint-000002\S* cannot be written \(No space left on device; .* free"
        ):
            list(stream)
    assert {path: checksum(path) for path in (tmp_path / "stopped").glob("checkpoint-*/*")} == written
    assert not list((tmp_path / "stopped").glob(".*"))  # neither a lock nor a half-written folder
    resumed = Trainer(parameters, env_spec(parameters.env), tmp_path / "stopped")
    list(resumed.run())
    assert knowledge(resumed) == knowledge(whole)


def _full_for(name: str, patch: pytest.MonkeyPatch) -> Callable[[int], None]:
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        if name in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    return fsync


def test_a_second_process_is_refused_and_changes_nothing(trained, tmp_path) -> None:
    parameters, folder, *_ = trained
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    DAMAGE["flipped"](copy / "checkpoint-000002" / "network.safetensors")
    with hold(copy):
        names = sorted(path.name for path in copy.iterdir())
        with pytest.raises(RunConflictError, match=f"process {os.getpid()} on"):
            restored(parameters, copy)
        assert sorted(path.name for path in copy.iterdir()) == names


@pytest.mark.parametrize("mode", ["synchronous", "overlapped"])
@pytest.mark.parametrize("part", ["learner loss", "novelty loss"])
def test_the_batch_of_repeated_bad_updates_is_kept(make_parameters, tmp_path, part: str, mode: str) -> None:
    parameters = make_parameters(
        run=RUN | {"total_frames": 4_800},
        learner={"max_bad_updates": 3, "mode": mode},
        replay={"samples_per_insert": 16.0},  # three updates are due at once, before the actors get the weights
    )
    trainer = Trainer(parameters, env_spec(parameters.env), tmp_path)
    stream = trainer.run()
    while next(stream).checkpoint is None:
        pass
    before = trainer.state.learner.num_updates
    with torch.no_grad():
        broken = trainer.state.learner.network if part == "learner loss" else trainer.state.learner.novelty.inverse
        next(iter(broken.parameters())).fill_(float("nan"))
    with pytest.raises(
        NonFiniteLossError, match=rf"^{part} nan .* in 3 updates in a row: .*; the batch is kept in"
    ) as caught:
        list(stream)
    assert "\n" not in str(caught.value)
    kept = Path(str(caught.value).rpartition(" ")[2])
    assert kept == tmp_path / "non-finite-batch"
    arrays = safetensors.numpy.load_file(kept / "batch.safetensors")
    assert arrays["frames"].shape == (4, 17, 16, 16)
    assert np.isfinite(arrays["inputs.reward"]).all()
    record = json.loads((kept / "record.json").read_text())
    assert record["not_finite"] == []  # so the fault is in the weights, which are there too
    assert any(
        torch.isnan(value).any()
        for value in {**load_file(kept / "network.safetensors"), **load_file(kept / "novelty.safetensors")}.values()
    )
    assert record["skipped_updates"] == trainer.state.learner.num_skipped == 3
    assert record["updates"] - before == (0 if part == "learner loss" else 2)
