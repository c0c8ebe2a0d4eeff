import copy
import dataclasses
import json

import numpy as np
import pytest

from meme57.errors import CheckpointError, ReplayError
from meme57.replay import collect_garbage, load_snapshot, save_snapshot
from meme57.replay.store import chunk_checksum

P = 4


def files(folder):
    return {path.name for path in folder.iterdir()}


def names(index):
    return {index["tables"]["file"], *(segment["file"] for segment in index["segments"])}


def feed(replay, make_episode, count, *, first=0):
    for k in range(first, first + count):
        replay.add(make_episode(5 * P, actor=k % 3, episode=k).chunks)


def same_tables(a, b):
    left, right = a.contents()[0], b.contents()[0]
    return left.keys() == right.keys() and all(np.array_equal(left[name], right[name]) for name in left)


def assert_same_behaviour(a, b, flatten, make_episode):
    """Equal tables, then equal draws, priorities and further insertions."""
    assert same_tables(a, b)
    assert (a.num_bytes, a.num_chunks, len(a)) == (b.num_bytes, b.num_chunks, len(b))
    rngs = np.random.default_rng(5), np.random.default_rng(5)
    for step in range(6):
        batches = [flatten(replay.sample(4, rng)) for replay, rng in zip((a, b), rngs, strict=True)]
        for name in batches[0]:
            assert batches[0][name].tobytes() == batches[1][name].tobytes(), name
        for replay, batch in zip((a, b), batches, strict=True):
            replay.update_priorities(batch["sequence_ids"], batch["probabilities"] * (step + 1))
            replay.add(make_episode(3 * P, actor=7, episode=step).chunks)
    assert same_tables(a, b)


@pytest.fixture
def saved(tmp_path, make_episode, make_replay):
    """A replay with evictions, priorities and a pending chunk, and its snapshot in two segments."""
    replay = make_replay(capacity_sequences=14)
    feed(replay, make_episode, 2)
    first = save_snapshot(replay, tmp_path, None)
    feed(replay, make_episode, 2, first=2)
    replay.update_priorities(replay.sequence_ids(), np.linspace(0.1, 3, len(replay)))
    replay.add(make_episode(4 * P, actor=2, episode=50).chunks[:2])
    index = save_snapshot(replay, tmp_path, first)
    assert len(index["segments"]) == 2
    assert replay.num_pending == 1
    return replay, tmp_path, index


def test_restore_is_equal_in_all_that_follows(saved, make_replay, make_episode, flatten):
    replay, folder, index = saved
    restored = make_replay(capacity_sequences=14)
    load_snapshot(restored, folder, json.loads(json.dumps(index)))
    for each in (replay, restored):  # the pending chunk of actor 2 finds its partner
        assert each.add(make_episode(4 * P, actor=2, episode=50).chunks[2:3]) == 1
    assert_same_behaviour(replay, restored, flatten, make_episode)


def test_an_empty_replay_round_trips(tmp_path, make_replay, make_episode):
    index = save_snapshot(make_replay(), tmp_path, None)
    restored = make_replay()
    restored.add(make_episode(9).chunks)
    load_snapshot(restored, tmp_path, index)
    assert len(restored) == restored.num_chunks == restored.num_inserted == 0
    assert restored.add(make_episode(9).chunks) == 2


def test_a_second_save_writes_only_new_chunks(tmp_path, make_episode, make_replay):
    replay = make_replay(capacity_sequences=100)
    feed(replay, make_episode, 3)
    first = save_snapshot(replay, tmp_path, None)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    feed(replay, make_episode, 1, first=3)
    second = save_snapshot(replay, tmp_path, first)
    assert second["segments"][0] == first["segments"][0]
    assert [segment["num_chunks"] for segment in second["segments"]] == [15, 5]  # 5 chunks an episode
    assert files(tmp_path) == names(first) | names(second)
    assert all((tmp_path / name).stat().st_mtime_ns == time for name, time in before.items())
    third = save_snapshot(replay, tmp_path, second)
    assert third == second  # nothing new: no new file
    assert files(tmp_path) == names(first) | names(second)


def test_saving_goes_on_after_a_restore(saved, make_replay, make_episode, flatten):
    _, folder, index = saved
    restored = make_replay(capacity_sequences=14)
    load_snapshot(restored, folder, index)
    assert save_snapshot(restored, folder, index) == index
    feed(restored, make_episode, 1, first=8)
    later = save_snapshot(restored, folder, index)
    again = make_replay(capacity_sequences=14)
    load_snapshot(again, folder, later)
    assert_same_behaviour(restored, again, flatten, make_episode)


def test_disk_stays_bounded(tmp_path, make_replay, make_episode):
    replay = make_replay(capacity_sequences=10)
    index, retained, most = None, [], 0
    for k in range(40):
        feed(replay, make_episode, 1 + k % 3, first=10 * k)
        index = save_snapshot(replay, tmp_path, index)
        retained = [*retained[-1:], index]
        collect_garbage(tmp_path, retained)
        on_disk = sum(segment["num_chunks"] for segment in index["segments"])
        assert on_disk <= 2 * replay.num_chunks
        most = max(most, len(files(tmp_path)))
        restored = make_replay(capacity_sequences=10)
        load_snapshot(restored, tmp_path, retained[0])
        load_snapshot(restored, tmp_path, index)
        assert same_tables(restored, replay)
    assert most <= 12


def test_segments_are_closed_at_a_size(tmp_path, make_replay, make_episode, monkeypatch):
    monkeypatch.setattr("meme57.replay.snapshot.SEGMENT_BYTES", 1000)
    replay, restored = make_replay(capacity_sequences=100), make_replay(capacity_sequences=100)
    feed(replay, make_episode, 4)
    index = save_snapshot(replay, tmp_path, None)
    assert len(index["segments"]) > 3
    assert sum(segment["num_chunks"] for segment in index["segments"]) == replay.num_chunks == 20
    load_snapshot(restored, tmp_path, index)
    assert same_tables(replay, restored)


def test_garbage_is_what_no_kept_index_names(saved):
    replay, folder, index = saved
    old_tables = files(folder) - names(index)
    assert len(old_tables) == 1
    (folder / ".tables-0123456789abcdef.safetensors.77.tmp").write_bytes(b"left over")
    (folder / "notes.txt").write_text("not ours")
    assert collect_garbage(folder, [index]) == sorted([".tables-0123456789abcdef.safetensors.77.tmp", *old_tables])
    assert files(folder) == names(index) | {"notes.txt"}
    with pytest.raises(CheckpointError):
        collect_garbage(folder, [index, {"format": 1}])
    assert files(folder) == names(index) | {"notes.txt"}
    assert collect_garbage(folder / "absent", []) == []
    assert len(replay) == 14


def truncate(path):
    path.write_bytes(path.read_bytes()[:-7])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, flip, lambda path: path.write_bytes(b""), lambda path: path.unlink()])
def test_damage_to_any_file_is_named_and_changes_nothing(saved, make_replay, make_episode, damage):
    _, folder, index = saved
    restored = make_replay(capacity_sequences=14)
    restored.add(make_episode(9).chunks)
    before = copy.deepcopy(restored.contents()[0])
    for name in sorted(names(index)):
        content = (folder / name).read_bytes()
        damage(folder / name)
        with pytest.raises(CheckpointError, match=name):
            load_snapshot(restored, folder, index)
        (folder / name).write_bytes(content)
    assert all(np.array_equal(before[key], value) for key, value in restored.contents()[0].items())
    load_snapshot(restored, folder, index)


@pytest.mark.parametrize("damage", [truncate, lambda path: path.unlink()])
def test_a_save_heals_what_the_previous_snapshot_lost(saved, make_replay, damage):
    replay, folder, index = saved
    for name in sorted(names(index)):
        damage(folder / name)
        index = save_snapshot(replay, folder, index)
        restored = make_replay(capacity_sequences=14)
        load_snapshot(restored, folder, index)
        assert same_tables(replay, restored)


def test_the_index_of_another_replay_is_no_source_of_chunks(saved, make_replay, make_episode):
    _, folder, index = saved
    other = make_replay(capacity_sequences=14)
    for k in range(4):  # the same chunk numbers, other content
        other.add(make_episode(5 * P, seed=99, actor=k % 3, episode=k).chunks)
    later = save_snapshot(other, folder, index)
    assert not {s["file"] for s in later["segments"]} & {s["file"] for s in index["segments"]}
    restored = make_replay(capacity_sequences=14)
    load_snapshot(restored, folder, later)
    assert same_tables(other, restored)


def test_untrusted_names_are_refused(saved, make_replay, tmp_path_factory):
    replay, folder, index = saved
    outside = tmp_path_factory.mktemp("outside") / index["tables"]["file"]
    outside.write_bytes((folder / index["tables"]["file"]).read_bytes())
    bad_names = [f"../{outside.parent.name}/{outside.name}", str(outside), "", ".", "..", None, 3, "a/b.safetensors",
                 index["tables"]["file"] + "\n", "tables-\u0661123456789abcdef.safetensors"]  # fmt: skip
    for name in bad_names:
        for place in ("tables", "segment"):
            bad = copy.deepcopy(index)
            (bad["tables"] if place == "tables" else bad["segments"][0])["file"] = name
            for use in (
                lambda bad=bad: load_snapshot(replay, folder, bad),
                lambda bad=bad: collect_garbage(folder, [bad]),
            ):
                with pytest.raises(CheckpointError, match="not a snapshot file"):
                    use()


def test_a_damaged_index_is_refused(saved, make_replay):
    _, folder, index = saved
    replay = make_replay(capacity_sequences=14)
    changes = [
        {"format": 2},
        {"format": None},
        {"tables": None},
        {"segments": None},
        {"segments": [{}]},
        {"segments": index["segments"][:1]},
        {"segments": index["segments"][::-1]},
        {"segments": index["segments"] * 2},
        {"segments": [{**segment, "num_chunks": 1} for segment in index["segments"]]},
        {"segments": [{**segment, "num_chunks": segment["num_chunks"] + 1} for segment in index["segments"]]},
        {"segments": [{**segment, "num_chunks": float("inf")} for segment in index["segments"]]},
        {"segments": [{**segment, "sha256": "0" * 64} for segment in index["segments"]]},
    ]
    for change in changes:
        with pytest.raises(CheckpointError):
            load_snapshot(replay, folder, {**index, **change})
    for bad in (None, [], "x", {}):
        with pytest.raises(CheckpointError):
            load_snapshot(replay, folder, bad)
    assert len(replay) == 0


def test_a_snapshot_of_other_sizes_is_refused(saved, make_replay):
    _, folder, index = saved
    for settings in ({"capacity_sequences": 15}, {"num_actions": 6}, {"lstm_size": 4}, {"frame_shape": (5, 6)}):
        with pytest.raises(CheckpointError, match="differ"):
            load_snapshot(make_replay(**{"capacity_sequences": 14, **settings}), folder, index)


def test_inconsistent_tables_are_refused(saved, make_replay):
    replay, _, _ = saved
    tables, chunks = replay.contents()
    number = int(tables["chunk_numbers"][0])
    bad_tables = [
        {"priorities": tables["priorities"][:-1]},
        {"priorities": -tables["priorities"]},
        {"counters": tables["counters"] + [1, 0]},
        {"counters": tables["counters"] - [0, tables["counters"][1]]},
        {"sequences": np.where(tables["sequences"] == number, number + 1000, tables["sequences"])},
        {"sequences": np.full_like(tables["sequences"], -1)},
        {"pending": np.concatenate([tables["pending"], tables["pending"]])},
        {"chunk_numbers": tables["chunk_numbers"][1:]},
        {"chunk_numbers": np.zeros_like(tables["chunk_numbers"])},
        {"chunk_checksums": tables["chunk_checksums"] + 1},
    ]
    fresh = make_replay(capacity_sequences=14)
    for change in bad_tables:
        with pytest.raises(ReplayError):
            fresh.load_state_dict({**tables, **change}, chunks)
    for key in tables:
        with pytest.raises(ReplayError):
            fresh.load_state_dict({k: v for k, v in tables.items() if k != key}, chunks)
    other = dataclasses.replace(chunks[number], weight_version=chunks[number].weight_version + 1)
    for bad_chunks in ({k: v for k, v in chunks.items() if k != number}, {**chunks, number: other}):
        with pytest.raises(ReplayError, match=f"chunk {number}"):
            fresh.load_state_dict(tables, bad_chunks)
    fresh.load_state_dict(tables, chunks)
    assert same_tables(replay, fresh)


def test_every_byte_of_the_frames_is_in_the_checksum(make_episode) -> None:
    chunk = make_episode(8).chunks[0]
    for at in (0, len(chunk.frames) // 2, len(chunk.frames) - 1):
        other = bytearray(chunk.frames)
        other[at] ^= 1
        assert chunk_checksum(dataclasses.replace(chunk, frames=bytes(other))) != chunk_checksum(chunk)
