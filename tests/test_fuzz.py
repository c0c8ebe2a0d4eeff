"""Bad input by the hundred (by the thousand with `-m slow`): each is an error of ours, in one line, or it is no error.

Seeds are fixed: the same inputs every time. `docs/robustness.md` says how many there are.
"""

from __future__ import annotations

import copy
import json
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from meme57.blueprint import make_replay
from meme57.checkpoints.manifest import read_manifest
from meme57.checkpoints.state import parse_state
from meme57.checkpoints.store import CheckpointStore
from meme57.config import Parameters, parse_parameters
from meme57.envs import env_spec
from meme57.errors import CheckpointError, ConfigurationError, Meme57Error, ReplayError
from meme57.files import tree_digest
from meme57.learning import __main__ as command
from meme57.learning.seed_replay import collect_seed_replay, load_seed_replay
from meme57.learning.trainer import Trainer
from meme57.replay import decode_chunks, load_snapshot
from meme57.tracking.run_record import TrackingRun, new_record, read_record, record_path

SEED = 57
COUNTS = [pytest.param(1, id="few"), pytest.param(12, id="thousands", marks=pytest.mark.slow)]
"""How many times the number of inputs that each test names."""

TINY: dict[str, Any] = {
    "run": {"total_frames": 800, "checkpoint_period_frames": 800, "log_period_frames": 400, "name": "tiny"},
    "env": {"game": "Corridor", "num_envs": 2, "height": 16, "width": 16},
    "family": {"num_policies": 2},
    "network": {"torso": "small", "lstm_size": 4, "head_size": 4, "feature_size": 4, "small_channels": [2, 2]},
    "novelty": {"embedding_size": 4, "channels": [2, 2], "hidden_size": 4, "rnd_size": 4, "memory_size": 20},
    "replay": {"period": 8, "capacity_sequences": 50, "min_sequences": 8, "samples_per_insert": 2.0},
    "learner": {"batch_size": 4},
}
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**70, -(2**70), 0.5, -0.0, 1e308, float("inf"), float("nan"), "", " ", "x",
    "Pong", "../..", "/etc/passwd", "a" * 5_000, "\n", "\x00", "\ud800", "1", "nan", [], [1], [[]], ["x", None], {},
    {"x": 1}, {"": {}}, [0] * 300,
]  # fmt: skip


def paths(tree: Any, prefix: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a tree of mappings and lists."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield (*prefix, key)
        yield from paths(value, (*prefix, key))


def spoilt(tree: Any, chosen: random.Random) -> Any:
    """A copy with one to three places changed, removed, renamed or added."""
    tree = copy.deepcopy(tree)
    for _ in range(chosen.randint(1, 3)):
        places = list(paths(tree))
        if not places:
            return chosen.choice(VALUES)
        *parents, last = chosen.choice(places)
        parent = tree
        for key in parents:
            parent = parent[key]
        kind = chosen.randrange(8)
        if kind == 0:
            del parent[last]
        elif kind == 1 and isinstance(parent, dict):
            parent[str(last) + chosen.choice(["x", "", " ", "."])] = parent.pop(last)
        elif kind == 2 and isinstance(parent, dict):
            parent[chosen.choice(["extra", "", "gaem", "\n"])] = chosen.choice(VALUES)
        else:
            parent[last] = copy.deepcopy(chosen.choice(VALUES))
    return tree


def spoilt_bytes(content: bytes, chosen: random.Random) -> bytes:
    """Bits flipped, cut short, pieces doubled, removed or made up."""
    data = bytearray(content)
    for _ in range(chosen.randint(1, 3)):
        start = chosen.randrange(len(data) + 1)
        end = min(len(data), start + chosen.randint(1, 64))
        kind = chosen.randrange(6)
        if kind <= 1 and start < len(data):
            data[start] ^= 1 << chosen.randrange(8)
        elif kind == 2:
            del data[start:]
        elif kind == 3:
            del data[start:end]
        elif kind == 4:
            data[start:start] = data[start:end]
        else:
            data[start:end] = chosen.randbytes(end - start)
    return bytes(data)


def outcomes(count: int, name: str, use: Callable[[random.Random], object]) -> int:
    """Uses `count` inputs; how many were refused. Anything but an error of ours in one line fails."""
    refused = 0
    for number in range(count):
        chosen = random.Random(f"{SEED} {name} {number}")
        try:
            use(chosen)
        except Meme57Error as error:
            refused += 1
            if "\n" in str(error) or len(str(error)) < 10:  # told by the message, not by an assertion
                raise AssertionError(f"input {number} of {name}: {str(error)!r}") from error
    return refused


@pytest.fixture(scope="module", name="parameters")
def _parameters() -> Parameters:
    return parse_parameters(TINY)


@pytest.fixture(scope="module", name="trained")
def _trained(parameters: Parameters, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with one checkpoint."""
    folder = tmp_path_factory.mktemp("fuzz") / "run"
    list(Trainer(parameters, env_spec(parameters.env), folder).run())
    return folder


@pytest.mark.parametrize("times", COUNTS)
def test_parameters(times: int) -> None:
    whole = Parameters().model_dump(mode="json", by_alias=True)
    count = 150 * times

    def use(chosen: random.Random) -> None:
        tree = spoilt(whole if chosen.random() < 0.7 else TINY, chosen)
        parse_parameters(tree)

    assert outcomes(count, "parameters", use) > count / 2


@pytest.mark.parametrize("times", COUNTS)
def test_command_line(times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """`main` itself, to the point where training would begin."""
    began: list[Parameters] = []
    monkeypatch.setattr(command, "_train", lambda parameters, folder: began.append(parameters))
    names = [".".join(map(str, path)) for path in paths(Parameters().model_dump(mode="json", by_alias=True))]
    count = 150 * times
    refused = 0
    for number in range(count):
        chosen = random.Random(f"{SEED} command {number}")
        words = ["meme57.learning", "--folder", str(tmp_path / "runs")]
        for _ in range(chosen.randint(1, 3)):
            name = chosen.choice([*names, "", ".", "..", "a.b.c", "env.game.x", "run", "=", "env..game"])
            text = json.dumps(value) if isinstance(value := chosen.choice(VALUES), (dict, list)) else str(value)
            words += ["--set", f"{name}{chosen.choice(['=', '=', '=', '', '=='])}{text}"]
        if chosen.random() < 0.3:
            (tmp_path / "config.json").write_bytes(spoilt_bytes(json.dumps(TINY).encode(), chosen))
            words += ["--config", str(tmp_path / "config.json")]
        monkeypatch.setattr(sys, "argv", words)
        began.clear()
        status = command.main()
        out, err = capsys.readouterr()
        assert (status, out) == (0 if began else 1, ""), words
        assert err.startswith("error: ") == bool(status), words
        assert len(err.splitlines()) == status, (words, err)
        refused += status
    assert refused > count / 2
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("times", COUNTS)
def test_manifest(times: int, trained: Path, tmp_path: Path) -> None:
    """Half of them with a right checksum, as somebody would write them on purpose."""
    source = trained / "checkpoint-000001" / "manifest.json"
    whole, content = json.loads(source.read_text()), source.read_bytes()
    count = 100 * times

    def use(chosen: random.Random) -> None:
        path = tmp_path / "manifest.json"
        if chosen.random() < 0.5:
            path.write_bytes(spoilt_bytes(content, chosen))
            read_manifest(tmp_path)
            assert json.loads(path.read_text()) == whole  # white space at most
            return
        tree = spoilt({key: value for key, value in whole.items() if key != "sha256"}, chosen)
        signed = {**tree, "sha256": tree_digest(tree)} if isinstance(tree, dict) else tree
        path.write_text(json.dumps(signed))
        manifest = read_manifest(tmp_path)
        assert all("/" not in name and not name.startswith(".") for name in manifest.files)

    assert outcomes(count, "manifest", use) > count / 2  # the configuration may hold anything


@pytest.mark.parametrize("times", COUNTS)
def test_state(times: int, trained: Path, tmp_path: Path) -> None:
    path = trained / "checkpoint-000001" / "state.json"
    whole, content = json.loads(path.read_text()), path.read_bytes()
    count = 100 * times

    def use(chosen: random.Random) -> None:
        tree = spoilt({key: whole[key] for key in (*whole,)}, chosen)
        parse_state(tree, path)

    assert outcomes(count, "state", use) > count / 10  # most changes lie deep inside the actors' state

    def use_bytes(chosen: random.Random) -> None:
        folder = tmp_path / "run"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(trained, folder)
        (folder / "checkpoint-000001" / "state.json").write_bytes(damaged := spoilt_bytes(content, chosen))
        store = CheckpointStore(folder, fingerprint=parse_parameters(TINY).fingerprint(), configuration={}, keep=2)
        store.newest()
        assert damaged == content

    assert outcomes(30 * times, "state bytes", use_bytes) > 25 * times


@pytest.mark.parametrize("times", COUNTS)
def test_state_in_a_trainer(times: int, trained: Path, parameters: Parameters, tmp_path: Path) -> None:
    """Spoilt values with right checksums, restored for real: refused, or a trainer that can go on."""
    whole = json.loads((trained / "checkpoint-000001" / "state.json").read_text())
    trainer = Trainer(parameters, env_spec(parameters.env), trained)

    def use(chosen: random.Random) -> None:
        state = copy.deepcopy(whole)
        part = chosen.choice(["pool", "random", "replay", "limiter", "statistics", "learner"])
        state[part] = spoilt(state[part], chosen)
        store = CheckpointStore(trained, fingerprint=parameters.fingerprint(), configuration={}, keep=2)
        checkpoint = store.newest()
        assert checkpoint is not None
        trainer.state.restore(type(checkpoint)(checkpoint.folder, checkpoint.manifest, state))
        trainer.state.take(trainer.state.pool.collect(3))
        trainer.make_updates().step()

    assert outcomes(60 * times, "trainer", use) > 20 * times


@pytest.mark.parametrize("times", COUNTS)
def test_replay_files(times: int, trained: Path, parameters: Parameters, tmp_path: Path) -> None:
    index = json.loads((trained / "checkpoint-000001" / "state.json").read_text())["replay"]
    names = [index["tables"]["file"], *(segment["file"] for segment in index["segments"])]
    contents = {name: (trained / "replay" / name).read_bytes() for name in names}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    replay = make_replay(parameters, env_spec(parameters.env))

    def use(chosen: random.Random) -> None:
        kind = chosen.randrange(3)
        if kind == 0:
            load_snapshot(replay, tmp_path, spoilt(index, chosen))
        elif kind == 1:
            name = chosen.choice(names)
            (tmp_path / name).write_bytes(damaged := spoilt_bytes(contents[name], chosen))
            try:
                load_snapshot(replay, tmp_path, index)
                assert damaged == contents[name]
            finally:
                (tmp_path / name).write_bytes(contents[name])
        else:  # past the checksums of the files, to the reader of chunks
            segment = contents[chosen.choice(names[1:])]
            decode_chunks(spoilt_bytes(segment, chosen))

    count = 100 * times
    assert outcomes(count, "replay", use) > count * 0.8


@pytest.mark.parametrize("times", COUNTS)
def test_seed_replay_and_run_record(times: int, parameters: Parameters, tmp_path: Path) -> None:
    seed_folder = tmp_path / "seed"
    collect_seed_replay(parameters, env_spec(parameters.env), seed_folder)
    record = json.loads((seed_folder / "record.json").read_text())
    chunks = (seed_folder / "chunks.safetensors").read_bytes()
    given = TrackingRun(run_id="r", parent_run_id="p", experiment_id="e", tracking_uri="u", created="c", commit="d")
    run = new_record(parameters, given)
    path = record_path(tmp_path, "tiny")
    path.parent.mkdir(parents=True)

    def use(chosen: random.Random) -> None:
        kind = chosen.randrange(3)
        if kind == 0:
            (seed_folder / "record.json").write_text(json.dumps(spoilt(record, chosen)))
            (seed_folder / "chunks.safetensors").write_bytes(chunks)
        elif kind == 1:
            (seed_folder / "record.json").write_text(json.dumps(record))
            (seed_folder / "chunks.safetensors").write_bytes(spoilt_bytes(chunks, chosen))
        if kind < 2:
            _, read = load_seed_replay(parameters, seed_folder)
            assert read["frames"] == record["frames"]
            return
        path.write_text(json.dumps(spoilt(run, chosen)))
        got = read_record(tmp_path, "tiny")
        assert got is not None
        assert isinstance(got["mlflow_run_id"], str)

    count = 60 * times
    assert outcomes(count, "records", use) > count / 3


def test_the_inputs_are_the_same_every_time() -> None:
    def some() -> list[Any]:
        return [spoilt(TINY, random.Random(f"{SEED} x {number}")) for number in range(20)]

    assert repr(some()) == repr(some())
    assert not np.array_equal(spoilt_bytes(b"x" * 99, random.Random(1)), spoilt_bytes(b"x" * 99, random.Random(2)))
    assert all(issubclass(kind, Meme57Error) for kind in (CheckpointError, ReplayError, ConfigurationError))
