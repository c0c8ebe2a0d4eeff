import dataclasses

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from meme57.errors import ReplayError
from meme57.replay.blob import pack, unpack
from meme57.replay.codec import KIND, compress_frames, decode_chunks, decompress_frames_into, encode_chunks


@given(st.integers(1, 6), st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1), st.booleans())
def test_frames_round_trip(n, height, width, seed, noisy):
    frames = np.random.default_rng(seed).integers(0, 256 if noisy else 2, (n, height, width), dtype=np.uint8)
    data = compress_frames(frames)
    assert zstandard.get_frame_parameters(data).content_size == frames.nbytes
    out = np.full((n + 2, height, width), 77, np.uint8)
    decompress_frames_into(data, out[1:-1])
    np.testing.assert_array_equal(out[1:-1], frames)
    assert (out[0] == 77).all()
    assert (out[-1] == 77).all()


def test_large_frames_round_trip():
    frames = np.random.default_rng(0).integers(0, 256, (81, 84, 84), dtype=np.uint8)
    out = np.empty_like(frames)
    decompress_frames_into(compress_frames(frames), out)
    np.testing.assert_array_equal(out, frames)


def test_frames_of_another_size_are_refused():
    data = compress_frames(np.ones((3, 4, 4), np.uint8))
    for shape in [(2, 4, 4), (4, 4, 4)]:
        with pytest.raises(ReplayError, match="48 bytes"):
            decompress_frames_into(data, np.empty(shape, np.uint8))
    with pytest.raises(ReplayError, match="contiguous"):
        decompress_frames_into(data, np.empty((3, 8, 4), np.uint8)[:, ::2])
    with pytest.raises(ReplayError, match="uint8"):
        compress_frames(np.ones((3, 4, 4), np.float32))


def test_truncated_frames_are_refused():
    rng = np.random.default_rng(1)
    for frames in (np.zeros((3, 4, 4), np.uint8), rng.integers(0, 256, (5, 9, 9), dtype=np.uint8)):
        data = compress_frames(frames)
        for length in range(len(data)):
            with pytest.raises(ReplayError):
                decompress_frames_into(data[:length], np.empty_like(frames))


def some_chunks(make_episode):
    return [c for k, n in enumerate((9, 1, 4, 12)) for c in make_episode(n, episode=k, terminal=k % 2 == 0).chunks]


def test_chunks_round_trip_exactly(make_episode, is_same_chunk):
    chunks = some_chunks(make_episode)
    back = decode_chunks(encode_chunks(chunks))
    assert len(back) == len(chunks) == 3 + 1 + 1 + 3  # ceil(n / 4) chunks each
    assert all(is_same_chunk(a, b) for a, b in zip(chunks, back, strict=True))
    assert decode_chunks(encode_chunks([])) == []


def test_a_decoded_chunk_does_not_keep_its_neighbours_alive(make_episode):
    for chunk in decode_chunks(encode_chunks(some_chunks(make_episode))):
        arrays = [chunk.mu, chunk.lstm_state, *chunk.steps, *chunk.first_inputs]
        assert all(array.base is None for array in arrays)


def test_chunks_that_do_not_fit_together_are_refused(make_episode):
    chunk = make_episode(4).chunks[0]
    other = dataclasses.replace(chunk, lstm_state=np.zeros((2, 7), np.float32))
    with pytest.raises(ReplayError):
        encode_chunks([chunk, other])
    far = dataclasses.replace(chunk, steps=chunk.steps._replace(action=np.full(4, 40_000)))
    with pytest.raises(ReplayError, match="40000"):
        encode_chunks([far])
    wide = dataclasses.replace(chunk, mu=chunk.mu.astype(np.float64))
    with pytest.raises(ReplayError, match="mu"):
        encode_chunks([wide])


@settings(max_examples=300)
@given(st.data())
def test_any_damage_is_a_replay_error(make_episode, data):
    blob = bytearray(encode_chunks(some_chunks(make_episode)))
    kind = data.draw(st.sampled_from(["flip", "truncate", "insert"]))
    position = data.draw(st.one_of(st.integers(0, len(blob) - 1), st.integers(0, 2200)))
    if kind == "flip":
        blob[position] ^= 1 << data.draw(st.integers(0, 7))
    elif kind == "truncate":
        del blob[position:]
    else:
        blob[position:position] = b"\0"
    try:
        decode_chunks(bytes(blob))
    except ReplayError:
        return
    pytest.fail(f"{kind} at {position} of {len(blob)} went unnoticed")


@given(st.binary(max_size=200))
def test_foreign_bytes_are_a_replay_error(data):
    with pytest.raises(ReplayError):
        decode_chunks(data)


def test_inconsistent_tables_with_a_right_checksum_are_refused(make_episode):
    good = unpack(encode_chunks(some_chunks(make_episode)), kind=KIND)

    def tables(**changes):
        return pack({**good, **changes}, kind=KIND)

    assert len(decode_chunks(tables())) == 8
    offsets, identity = good["step_offsets"], good["identity"]
    bad = {
        "falling": {"step_offsets": offsets[::-1].copy()},
        "an empty chunk": {"step_offsets": np.concatenate([offsets[:1], offsets[:1], offsets[2:]])},
        "beyond the end": {"step_offsets": offsets + (np.arange(len(offsets)) == len(offsets) - 1)},
        "not from zero": {"frame_offsets": good["frame_offsets"] + 1},
        "too few": {"frame_offsets": good["frame_offsets"][:-1]},
        "negative policy": {"identity": np.where(np.arange(5) == 3, -1, identity)},
        "dtype": {"mu": good["mu"].astype(np.float64)},
        "steps": {"steps.reward": good["steps.reward"][:-1]},
        "embedding": {"steps.embedding": good["steps.embedding"][:, :1]},
        "frame shape": {"frame_shapes": good["frame_shapes"] * 2},
        "huge shape": {"frame_shapes": np.full_like(good["frame_shapes"], 2**62)},
        "action": {"steps.action": -1 - good["steps.action"]},
    }
    noticed = set()
    for name, changes in bad.items():
        try:
            decode_chunks(tables(**changes))
        except ReplayError:
            noticed.add(name)
    assert noticed == set(bad)
    for missing in good:
        with pytest.raises(ReplayError):
            decode_chunks(pack({key: value for key, value in good.items() if key != missing}, kind=KIND))
    with pytest.raises(ReplayError, match="expected"):
        decode_chunks(pack(good, kind="something else"))
