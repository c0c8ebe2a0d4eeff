"""Checkpoints on real files: damage is set aside, foreign ones are refused, the best one is kept."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from meme57.checkpoints.manifest import manifest_checksum, read_manifest
from meme57.checkpoints.store import CheckpointRecord, CheckpointStore
from meme57.errors import CheckpointError, IncompatibleCheckpointError, StorageError
from meme57.files import checksum, tree_digest

CONFIGURATION = {"seed": 1, "env": {"game": "Pong", "num_envs": 2}, "learner": {"learning_rate": 0.1, "batch_size": 4}}


def make_store(folder: Path, *, keep: int = 2, fingerprint: str = "abc", **configuration: Any) -> CheckpointStore:
    return CheckpointStore(
        folder / "run", fingerprint=fingerprint, configuration={**CONFIGURATION, **configuration}, keep=keep
    )


@pytest.fixture(name="store")
def _store(tmp_path: Path) -> CheckpointStore:
    return make_store(tmp_path)


def state_at(frames: int) -> dict[str, Any]:
    return {
        "frames": frames,
        "elapsed_seconds": 1.5,
        "learner": {"num_updates": 3, "num_skipped": 0},
        "limiter": {"drawn": 12, "inserted": 9},
        "statistics": {"num_episodes": 2, "exploit_returns": [1.0]},
        "pool": {"actors": []},
        "random": {},
        "replay": {"of": frames},
        "row": {"frames": float(frames)},
    }


def save(
    store: CheckpointStore, frames: int, score: float | None = None, measure: str | None = None
) -> CheckpointRecord:
    return store.save(
        tensors={"network": {"w": torch.full((2, 3), float(frames))}, "scales": {"s": torch.tensor(1.5).double()}},
        state=state_at(frames),
        description={"env": "toy"},
        frames=frames,
        updates=frames // 10,
        score=score,
        measure=measure,
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
    assert checkpoint.state == state_at(100)
    assert torch.equal(checkpoint.tensors("network")["w"], torch.full((2, 3), 100.0))
    assert checkpoint.tensors("scales")["s"].dtype == torch.float64
    assert (checkpoint.manifest.frames, checkpoint.manifest.score) == (100, 2.5)
    assert json.loads((record.folder / "agent.json").read_text()) == {"env": "toy"}
    assert store.replay_indices() == [{"of": 100}]


def test_layout_of_tensors_does_not_matter(store) -> None:
    strided = torch.arange(24.0).view(1, 2, 3, 4).to(memory_format=torch.channels_last)
    store.save(tensors={"network": {"w": strided}}, state=state_at(1), description={}, frames=1, updates=1, score=None)
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
    again = make_store(store.folder.parent)
    assert save(again, 50).name == "checkpoint-000005"


def test_the_best_is_kept_beside_the_newest(store) -> None:
    records = [save(store, frames, score) for frames, score in ((10, 1.0), (20, 9.0), (30, 2.0), (40, 3.0), (50, 4.0))]
    assert [record.is_best for record in records] == [True, True, False, False, False]
    assert folders(store) == ["checkpoint-000002", "checkpoint-000004", "checkpoint-000005"]
    assert store.best().frames == 20
    assert store.replay_indices() == [{"of": 40}, {"of": 50}]  # the best one is kept for its weights alone
    assert save(store, 60, 9.0).is_best  # the newer of equals
    assert folders(store) == ["checkpoint-000005", "checkpoint-000006"]


def test_without_scores_the_newest_is_best_and_a_score_beats_none(store) -> None:
    save(store, 10)
    assert store.best().frames == 10
    assert save(store, 20).is_best
    assert save(store, 30, -5.0).is_best
    assert not save(store, 40).is_best
    assert store.best().frames == 30


def rewrite(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes()))


def link(path: Path) -> None:
    elsewhere = path.parents[2] / "elsewhere.safetensors"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def sign(folder: Path, **changes: Any) -> None:
    """Writes a manifest that says something else and has a right checksum of its own."""
    path = folder / "manifest.json"
    tree = {**json.loads(path.read_text()), **changes}
    tree.pop("sha256")
    path.write_text(json.dumps({**tree, "sha256": tree_digest(tree)}))


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "one bit of the weights": rewrite("network.safetensors", lambda data: data[:-1] + bytes([data[-1] ^ 1])),
    "half of the weights": rewrite("network.safetensors", lambda data: data[: len(data) // 2]),
    "no weights": lambda folder: (folder / "network.safetensors").unlink(),
    "other state": rewrite("state.json", lambda data: data.replace(b"20", b"21")),
    "empty description": rewrite("agent.json", lambda data: b""),
    "no manifest": lambda folder: (folder / "manifest.json").unlink(),
    "broken manifest": rewrite("manifest.json", lambda data: data[:-20]),
    "manifest of something else": rewrite("manifest.json", lambda data: b"[1, 2]"),
    "manifest without files": rewrite("manifest.json", lambda data: b'{"format": 2, "fingerprint": "abc"}'),
    "other frames in the manifest": rewrite(
        "manifest.json", lambda data: data.replace(b'"frames": 20', b'"frames": 21')
    ),
    "other configuration in the manifest": rewrite("manifest.json", lambda data: data.replace(b'"abc"', b'"abd"')),
    "a link to the weights": lambda folder: link(folder / "network.safetensors"),
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


def test_all_damaged_is_refused_and_nothing_is_touched(store) -> None:
    for frames in (10, 20):
        (save(store, frames).folder / "manifest.json").unlink()
    with pytest.raises(
        CheckpointError, match=r"none of the 2 checkpoints .*000002/manifest\.json is missing.*run\.fresh"
    ):
        store.newest()
    assert folders(store) == ["checkpoint-000001", "checkpoint-000002"]


def test_one_that_cannot_be_used_gives_way_to_the_one_before(store, caplog) -> None:
    for frames in (10, 20):
        save(store, frames, score=float(frames))

    def use(checkpoint: Any) -> None:
        if checkpoint.manifest.frames == 20:
            raise CheckpointError("its replay is gone")

    with caplog.at_level(logging.WARNING):
        record = store.restore(use)
    assert (record.frames, record.is_best) == (10, True)
    assert "its replay is gone: set aside as damaged-checkpoint-000002" in caplog.text


def test_an_incomplete_one_is_never_best(store) -> None:
    save(store, 10, 1.0)
    (save(store, 20, 5.0).folder / "state.json").unlink()
    assert store.best().frames == 10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"files": {"../../evil.json": "0" * 64, "state.json": "", "agent.json": ""}}, r"names '\.\./\.\./evil\.json'"),
        ({"files": {"/etc/passwd": "0" * 64, "state.json": "", "agent.json": ""}}, r"names '/etc/passwd'"),
        ({"files": {}}, "a checksum is missing"),
        ({"files": {"state.json": 5}}, r"files\.state\.json"),
        ({"files": []}, "files: Input should be a valid dictionary"),
        ({"frames": "20"}, "frames: Input should be a valid integer"),
        ({"frames": -1}, "frames: Input should be greater"),
        ({"updates": 1.5}, "updates"),
        ({"score": "high"}, "score"),
        ({"fingerprint": None}, "fingerprint"),
        ({"more": 1}, "more: Extra inputs"),
    ],
    ids=str,
)
def test_a_manifest_is_not_trusted(store, changes: dict[str, Any], message: str) -> None:
    save(store, 10)
    sign(store.folder / "checkpoint-000001", **changes)
    with pytest.raises(CheckpointError, match=message) as caught:
        store.newest()
    assert "\n" not in str(caught.value)


def test_another_configuration_is_refused_and_nothing_is_touched(store) -> None:
    save(store, 10)
    before = {path: checksum(path) for path in store.folder.rglob("*") if path.is_file()}
    other = make_store(
        store.folder.parent, fingerprint="xyz", env={"game": "Breakout", "num_envs": 2}, seed=7, novel={"x": 1}
    )
    with pytest.raises(IncompatibleCheckpointError, match=r"configuration abc, this is xyz") as caught:
        other.newest()
    for words in (
        "seed 1, now 7",
        "env.game 'Pong', now 'Breakout'",
        "novel.x not set, now 1",
        "run.name",
        "run.fresh=true",
    ):
        assert words in str(caught.value)
    assert "num_envs" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {path: checksum(path) for path in store.folder.rglob("*") if path.is_file()} == before


def test_a_newer_format_is_refused_and_nothing_is_touched(store) -> None:
    folder = save(store, 10).folder
    sign(folder, format=99)
    with pytest.raises(CheckpointError, match=r"has format 99.*update meme57"):
        store.newest()
    assert folders(store) == ["checkpoint-000001"]


def test_an_older_damaged_one_does_not_stop_the_run(tmp_path) -> None:
    store = make_store(tmp_path, keep=3)
    (save(store, 10).folder / "state.json").write_text("{")
    save(store, 20)
    assert store.newest().state["frames"] == 20
    save(store, 30)
    assert store.replay_indices() == [{"of": 20}, {"of": 30}]


def test_an_old_one_that_cannot_be_removed_costs_space_alone(tmp_path, monkeypatch, caplog) -> None:
    store = make_store(tmp_path, keep=1)
    save(store, 10)
    remove = shutil.rmtree

    def refuse(path: Path, **options: Any) -> None:
        if path.name == "checkpoint-000001":
            raise OSError("busy")
        remove(path, **options)

    monkeypatch.setattr("meme57.checkpoints.store.shutil.rmtree", refuse)
    assert save(store, 20).frames == store.newest().state["frames"] == 20
    assert "checkpoint-000001 is not needed any more and could not be removed: busy" in caplog.text


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


@pytest.mark.parametrize("name", ["manifest.json", "state.json", "network.safetensors"])
def test_a_checkpoint_that_cannot_be_read_now_is_neither_set_aside_nor_removed(
    store: CheckpointStore, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for frames, score in ((100, 9.0), (200, 1.0), (300, 2.0)):
        save(store, frames, score)
    best, *_, newest = folders(store)
    unreadable = {store.folder / best / name, store.folder / newest / name}
    opened = Path.open

    def refuse(path: Path, *arguments: Any, **named: Any) -> Any:
        if path in unreadable:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return opened(path, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        with pytest.raises(StorageError, match=r"cannot be read \(Input/output error\)"):
            store.newest()
        if name == "manifest.json":  # who is the best cannot be found out, so that none is removed for another
            with pytest.raises(StorageError):
                save(store, 400, 3.0)
    assert {best, newest} <= set(folders(store))
    found = store.newest()
    assert found is not None
    assert found.manifest.frames == 300


def test_scores_of_two_measures_do_not_compete(store: CheckpointStore, caplog: pytest.LogCaptureFixture) -> None:
    """Training returns of 9 once kept their checkpoint the best one among greedy returns of 1 and 2."""
    caplog.set_level(logging.INFO)
    save(store, 10, 9.0, measure="training returns")
    save(store, 20, 8.0, measure="training returns")
    assert not caplog.messages
    assert save(store, 30, measure="greedy episodes").is_best is False  # a stop left it without a score
    assert store.best().frames == 10
    assert save(store, 40, 1.0, measure="greedy episodes").is_best
    [told] = caplog.messages
    assert told == "scores measure greedy episodes from now on: checkpoints with training returns do not compete"
    assert save(store, 50, 2.0, measure="greedy episodes").is_best
    assert not save(store, 60, 1.5, measure="greedy episodes").is_best
    assert store.best().frames == 50
    assert len(caplog.messages) == 1


def test_a_score_of_an_older_version_competes_with_all(store: CheckpointStore) -> None:
    save(store, 10, 9.0)
    assert "measure" not in written_before(store.folder / "checkpoint-000001")
    assert not save(store, 20, 1.0, measure="greedy episodes").is_best
    assert store.best().frames == 10


def written_before(folder: Path) -> dict[str, Any]:
    """The manifest as an older version wrote it; its checksum, and so what names it as source, is that of then."""
    path = folder / "manifest.json"
    tree = json.loads(path.read_text())
    del tree["measure"], tree["sha256"]
    path.write_text(json.dumps({**tree, "sha256": tree_digest(tree)}))
    assert manifest_checksum(read_manifest(folder)) == tree_digest(tree)
    return tree


def test_a_restored_checkpoint_says_whether_it_is_the_best(store: CheckpointStore) -> None:
    save(store, 10, 9.0)
    save(store, 20, 1.0)
    record = store.restore(lambda checkpoint: None)
    assert record is not None
    assert record.is_best is False
