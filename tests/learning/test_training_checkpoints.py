"""Checkpoints on real files: damage is set aside, foreign ones are refused, the best one is kept."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from meme57.errors import CheckpointError
from meme57.files import checksum
from meme57.learning.checkpoints import CheckpointRecord, CheckpointStore


@pytest.fixture(name="store")
def _store(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "run", fingerprint="abc", keep=2)


def save(store: CheckpointStore, frames: int, score: float | None = None) -> CheckpointRecord:
    return store.save(
        tensors={"network": {"w": torch.full((2, 3), float(frames))}, "scales": {"s": torch.tensor(1.5).double()}},
        state={"frames": frames, "replay": {"of": frames}},
        description={"env": "toy"},
        frames=frames,
        updates=frames // 10,
        score=score,
    )


def folders(store: CheckpointStore) -> list[str]:
    return sorted(path.name for path in store.folder.iterdir())


def test_round_trip(store) -> None:
    record = save(store, 100, score=2.5)
    assert record == CheckpointRecord(
        "checkpoint-000001", store.folder / "checkpoint-000001", 100, 10, 2.5, is_best=True
    )
    checkpoint = store.newest()
    assert checkpoint is not None
    assert checkpoint.folder == record.folder
    assert checkpoint.state == {"frames": 100, "replay": {"of": 100}}
    assert torch.equal(checkpoint.tensors("network")["w"], torch.full((2, 3), 100.0))
    assert checkpoint.tensors("scales")["s"].dtype == torch.float64
    assert (checkpoint.manifest["frames"], checkpoint.manifest["score"]) == (100, 2.5)
    assert json.loads((record.folder / "agent.json").read_text()) == {"env": "toy"}
    assert store.replay_indices() == [{"of": 100}]


def test_layout_of_tensors_does_not_matter(store) -> None:
    strided = torch.arange(24.0).view(1, 2, 3, 4).to(memory_format=torch.channels_last)
    store.save(tensors={"network": {"w": strided}}, state={}, description={}, frames=1, updates=1, score=None)
    assert torch.equal(store.newest().tensors("network")["w"], strided)


def test_nothing_there(store) -> None:
    assert store.newest() is None
    assert store.best() is None
    assert store.replay_indices() == []


def test_the_newest_are_kept_and_numbers_go_on(store) -> None:
    for frames in (10, 20, 30, 40):
        save(store, frames)
    assert folders(store) == ["checkpoint-000003", "checkpoint-000004"]
    assert store.newest().state["frames"] == 40
    assert store.replay_indices() == [{"of": 30}, {"of": 40}]
    again = CheckpointStore(store.folder, fingerprint="abc", keep=2)
    assert save(again, 50).name == "checkpoint-000005"


def test_the_best_is_kept_beside_the_newest(store) -> None:
    records = [save(store, frames, score) for frames, score in ((10, 1.0), (20, 9.0), (30, 2.0), (40, 3.0), (50, 4.0))]
    assert [record.is_best for record in records] == [True, True, False, False, False]
    assert folders(store) == ["checkpoint-000002", "checkpoint-000004", "checkpoint-000005"]
    assert store.best().state["frames"] == 20
    assert store.replay_indices() == [{"of": 40}, {"of": 50}]  # the best one is kept for its weights alone
    assert save(store, 60, 9.0).is_best  # the newer of equals
    assert folders(store) == ["checkpoint-000005", "checkpoint-000006"]


def test_without_scores_the_newest_is_best_and_a_score_beats_none(store) -> None:
    save(store, 10)
    assert store.best().state["frames"] == 10
    assert save(store, 20).is_best
    assert save(store, 30, -5.0).is_best
    assert not save(store, 40).is_best
    assert store.best().state["frames"] == 30


def rewrite(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes()))


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "one bit of the weights": rewrite("network.safetensors", lambda data: data[:-1] + bytes([data[-1] ^ 1])),
    "half of the weights": rewrite("network.safetensors", lambda data: data[: len(data) // 2]),
    "no weights": lambda folder: (folder / "network.safetensors").unlink(),
    "other state": rewrite("state.json", lambda data: data.replace(b"20", b"21")),
    "empty description": rewrite("agent.json", lambda data: b""),
    "no manifest": lambda folder: (folder / "manifest.json").unlink(),
    "broken manifest": rewrite("manifest.json", lambda data: data[:-20]),
    "manifest of something else": rewrite("manifest.json", lambda data: b"[1, 2]"),
    "manifest without files": rewrite("manifest.json", lambda data: b'{"format": 1, "fingerprint": "abc"}'),
    "binary manifest": rewrite("manifest.json", lambda data: b"\xff\xfe\x00"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_newest_one_is_set_aside_for_the_one_before(store, damage: str, caplog) -> None:
    save(store, 10)
    DAMAGE[damage](save(store, 20).folder)
    with caplog.at_level(logging.WARNING):
        checkpoint = store.newest()
    assert checkpoint is not None
    assert checkpoint.state["frames"] == 10
    assert folders(store) == ["checkpoint-000001", "damaged-checkpoint-000002"]
    assert "damaged-checkpoint-000002" in caplog.text
    assert save(store, 30).name == "checkpoint-000002"
    assert store.newest().state["frames"] == 30


def test_all_damaged_is_none(store) -> None:
    for frames in (10, 20):
        (save(store, frames).folder / "manifest.json").unlink()
    assert store.newest() is None
    assert folders(store) == ["damaged-checkpoint-000001", "damaged-checkpoint-000002"]


def test_a_damaged_one_is_never_best(store) -> None:
    save(store, 10, 1.0)
    (save(store, 20, 5.0).folder / "state.json").unlink()
    assert store.best().state["frames"] == 10


def test_another_configuration_is_refused_and_nothing_is_touched(store) -> None:
    save(store, 10)
    before = {path: checksum(path) for path in store.folder.rglob("*") if path.is_file()}
    other = CheckpointStore(store.folder, fingerprint="xyz", keep=2)
    with pytest.raises(CheckpointError, match=r"configuration abc, this is xyz.*run\.name.*run\.fresh=true") as caught:
        other.newest()
    assert "\n" not in str(caught.value)
    assert {path: checksum(path) for path in store.folder.rglob("*") if path.is_file()} == before


def test_a_newer_format_is_refused_and_nothing_is_touched(store) -> None:
    folder = save(store, 10).folder
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "format": 99}))
    with pytest.raises(CheckpointError, match=r"has format 99.*update meme57"):
        store.newest()
    assert folders(store) == ["checkpoint-000001"]


def test_an_older_damaged_one_does_not_stop_the_run(tmp_path) -> None:
    store = CheckpointStore(tmp_path / "run", fingerprint="abc", keep=3)
    (save(store, 10).folder / "state.json").write_text("{")
    save(store, 20)
    assert store.newest().state["frames"] == 20
    save(store, 30)
    assert store.replay_indices() == [{"of": 20}, {"of": 30}]


def test_left_overs_of_a_crash_are_ignored_and_overwritten(store) -> None:
    save(store, 10)
    half = store.folder / ".checkpoint-000002.tmp"
    half.mkdir()
    (half / "network.safetensors").write_bytes(b"half")
    (store.folder / "checkpoint-notes").mkdir()
    assert store.newest().state["frames"] == 10
    assert save(store, 20).name == "checkpoint-000002"
    assert not half.exists()
    assert store.newest().state["frames"] == 20


def test_missing_or_broken_tensors_are_our_error(store) -> None:
    save(store, 10)
    checkpoint = store.newest()
    with pytest.raises(CheckpointError, match=r"nothing\.safetensors is damaged"):
        checkpoint.tensors("nothing")
    (checkpoint.folder / "network.safetensors").write_bytes(b"no tensors")
    with pytest.raises(CheckpointError, match=r"network\.safetensors is damaged"):
        checkpoint.tensors("network")
