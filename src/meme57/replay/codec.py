"""Chunks as bytes: a chunk's frames as one zstd block, many chunks as one safetensors block. No pickle anywhere."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import zstandard

from meme57.agent.inputs import INPUTS
from meme57.errors import ReplayError
from meme57.replay.blob import Arrays, pack, take, unpack
from meme57.replay.chunks import Chunk, StepInputs

KIND = "meme57 chunks"
COMPRESSION_LEVEL = 1
LARGEST_ACTION = np.iinfo(np.int16).max  # actions are stored as int16
_IDENTITY = ("actor", "episode", "index", "policy", "weight_version")
_FLAGS = ("is_last", "terminal")
_local = threading.local()  # zstd contexts are costly to make and must not be shared by threads


def compress_frames(frames: npt.NDArray[np.uint8]) -> bytes:
    """Compress uint8 [n+1, H, W] into one zstd block that states its content size.

    Consecutive frames of a game compress several times better together than one by one. Source: [ours].
    `ReplayError`: not uint8 with three dimensions.
    """
    if frames.dtype != np.uint8 or frames.ndim != 3:
        raise ReplayError(f"frames must be uint8 [n+1, H, W], not {frames.dtype} {frames.shape}")
    if not hasattr(_local, "compressor"):
        _local.compressor = zstandard.ZstdCompressor(level=COMPRESSION_LEVEL)
    compressed: bytes = _local.compressor.compress(np.ascontiguousarray(frames).data)
    return compressed


def decompress_frames_into(data: bytes, out: npt.NDArray[np.uint8]) -> None:
    """Decode `compress_frames` directly into `out`, a C-contiguous uint8 [n+1, H, W], without a copy in between.

    `ReplayError`: the data are damaged, or do not have the size of `out` (whose content is then undefined).
    """
    if out.dtype != np.uint8 or not out.flags.c_contiguous:
        raise ReplayError(f"frames are decoded into C-contiguous uint8, not {out.dtype} with strides {out.strides}")
    check_frames(data, out.nbytes)
    if not hasattr(_local, "decompressor"):
        _local.decompressor = zstandard.ZstdDecompressor()
    target = out.reshape(-1).data
    position = 0
    try:
        with _local.decompressor.stream_reader(data) as reader:
            while position < out.nbytes and (count := reader.readinto(target[position:])):
                position += count
    except zstandard.ZstdError as error:
        raise ReplayError(f"compressed frames are damaged: {error}") from error
    if position != out.nbytes:
        raise ReplayError(f"compressed frames are damaged: they end after {position} of {out.nbytes} bytes")


def check_frames(data: bytes, num_bytes: int) -> None:
    """Check, without decoding, that a block states a content of `num_bytes`. `ReplayError`: it does not."""
    try:
        stated = zstandard.get_frame_parameters(data).content_size
    except (zstandard.ZstdError, ValueError) as error:
        raise ReplayError(f"compressed frames are damaged: {error}") from error
    if stated != num_bytes:
        raise ReplayError(f"compressed frames hold {stated} bytes, expected {num_bytes}")


def encode_chunks(chunks: Sequence[Chunk]) -> bytes:
    """Pack chunks into one block of about a dozen arrays: stacked where sizes agree, else concatenated with offsets.

    `decode_chunks` is its exact inverse. `ReplayError`: the chunks' recurrent states or embeddings differ in size, or
    an action is above 32767.
    """
    try:
        tables = _tables(chunks)
        _check_tables(tables, len(chunks), sum(chunk.num_steps for chunk in chunks))
        return pack(tables, kind=KIND)
    except ValueError as error:
        raise ReplayError(f"these chunks cannot be packed together: {error}") from error


def decode_chunks(data: bytes) -> list[Chunk]:
    """Unpack `encode_chunks`; each chunk owns its memory, so that one can be freed without the others.

    Damaged or foreign bytes raise `ReplayError` and no other error.
    """
    tables = unpack(data, kind=KIND)
    count = len(take(tables, "identity", np.int64, None, len(_IDENTITY)))
    num_steps = len(take(tables, "mu", np.float32, None))
    _check_tables(tables, count, num_steps)
    frame_offsets = _offsets(tables, "frame_offsets", count, len(take(tables, "frames", np.uint8, None)))
    step_offsets = _offsets(tables, "step_offsets", count, num_steps)
    frames = tables["frames"].tobytes()
    return [
        _chunk(tables, k, frames[frame_offsets[k] : frame_offsets[k + 1]], slice(step_offsets[k], step_offsets[k + 1]))
        for k in range(count)
    ]


def _tables(chunks: Sequence[Chunk]) -> Arrays:
    for chunk in chunks:
        largest = max(int(np.max(chunk.steps.action)), int(chunk.first_inputs.action))
        if largest > LARGEST_ACTION:
            raise ReplayError(f"the action {largest} is above {LARGEST_ACTION}, the largest that a chunk can carry")
    tables: Arrays = {
        "identity": np.array([[getattr(chunk, name) for name in _IDENTITY] for chunk in chunks], np.int64).reshape(
            -1, len(_IDENTITY)
        ),
        "flags": np.array([[getattr(chunk, name) for name in _FLAGS] for chunk in chunks], np.bool_).reshape(
            -1, len(_FLAGS)
        ),
        "frame_shapes": np.array([chunk.frame_shape for chunk in chunks], np.int64).reshape(-1, 2),
        "frame_offsets": np.cumsum([0, *(len(chunk.frames) for chunk in chunks)], dtype=np.int64),
        "step_offsets": np.cumsum([0, *(chunk.num_steps for chunk in chunks)], dtype=np.int64),
        "frames": np.frombuffer(b"".join(chunk.frames for chunk in chunks), np.uint8),
        "lstm_state": np.stack([chunk.lstm_state for chunk in chunks]) if chunks else np.zeros((0, 2, 0), np.float32),
        "mu": np.concatenate([chunk.mu for chunk in chunks]) if chunks else np.zeros(0, np.float32),
    }
    for name, kind in INPUTS.items():
        empty = np.zeros(kind.shape((0,), 0), kind.dtype)
        first = [np.asarray(getattr(chunk.first_inputs, name)) for chunk in chunks]
        steps = [getattr(chunk.steps, name) for chunk in chunks]
        tables[f"first.{name}"] = (np.stack(first) if first else empty).astype(kind.stored, copy=False)
        tables[f"steps.{name}"] = (np.concatenate(steps) if steps else empty).astype(kind.stored, copy=False)
    return tables


def _check_tables(tables: Arrays, count: int, num_steps: int) -> None:
    identity = tables["identity"]
    shapes = take(tables, "frame_shapes", np.int64, count, 2)
    take(tables, "flags", np.bool_, count, len(_FLAGS))
    take(tables, "lstm_state", np.float32, count, 2, None)
    take(tables, "mu", np.float32, num_steps)
    sizes: tuple[int | None, ...] = (None,)
    for name, kind in INPUTS.items():
        first = take(tables, f"first.{name}", kind.stored, count, *(sizes if kind.is_vector else ()))
        take(tables, f"steps.{name}", kind.stored, num_steps, *first.shape[1:])
    if count and (identity.min() < 0 or shapes.min() < 1 or tables["first.action"].min() < 0):
        raise ReplayError("a chunk's identity, frame shape or action is negative")
    if num_steps and tables["steps.action"].min() < 0:
        raise ReplayError("a chunk's action is negative")


def _offsets(tables: Arrays, name: str, count: int, length: int) -> list[int]:
    offsets = take(tables, name, np.int64, count + 1)
    if offsets[0] != 0 or offsets[-1] != length or not np.all(offsets[1:] > offsets[:-1]):
        raise ReplayError(f"the array {name!r} is inconsistent: offsets must rise strictly from 0 to {length}")
    return [int(offset) for offset in offsets]


def _chunk(tables: Arrays, k: int, frames: bytes, steps: slice) -> Chunk:
    height, width = (int(size) for size in tables["frame_shapes"][k])
    check_frames(frames, (steps.stop - steps.start + 1) * height * width)
    return Chunk(
        **{name: int(value) for name, value in zip(_IDENTITY, tables["identity"][k], strict=True)},
        is_last=bool(tables["flags"][k, 0]),
        terminal=bool(tables["flags"][k, 1]),
        frames=frames,
        frame_shape=(height, width),
        lstm_state=tables["lstm_state"][k].copy(),
        first_inputs=_inputs(tables, "first", k),
        steps=_inputs(tables, "steps", steps),
        mu=tables["mu"][steps].copy(),
    )


def _inputs(tables: Arrays, group: str, where: int | slice) -> StepInputs:
    return StepInputs(*(np.array(tables[f"{group}.{name}"][where], kind.dtype) for name, kind in INPUTS.items()))
