"""Named arrays in one self-checking block of bytes: safetensors with a kind, a format version and a checksum."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy

from meme57.errors import ReplayError

FORMAT_VERSION = 1

Arrays = dict[str, npt.NDArray[Any]]


def pack(arrays: Mapping[str, npt.NDArray[Any]], *, kind: str) -> bytes:
    """Pack arrays into one safetensors block whose metadata hold kind, version and checksum; same input, same bytes."""
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    header = json.dumps({"kind": kind, "version": FORMAT_VERSION, "crc32": _checksum(contiguous)})
    # one entry only: safetensors writes several metadata entries in random order
    return bytes(safetensors.numpy.save(contiguous, metadata={"meme57": header}))


def unpack(data: bytes, *, kind: str) -> Arrays:
    """Return the arrays of `pack`. `ReplayError`: damaged, of another kind or version, or not such a block at all."""
    try:
        arrays: Arrays = safetensors.numpy.load(data)
        header = _header(data)
        found = (header["kind"], header["version"], header["crc32"])
    except Exception as error:  # foreign bytes fail in many ways inside the parsers; all of them mean the same
        raise ReplayError(f"not a readable block of {kind}: {error}") from error
    if found[:2] != (kind, FORMAT_VERSION):
        raise ReplayError(f"expected {kind} in format {FORMAT_VERSION}, found {found[0]} in format {found[1]}")
    if found[2] != _checksum(arrays):
        raise ReplayError(f"a block of {kind} is damaged: its checksum does not match")
    return arrays


def take(
    arrays: Mapping[str, npt.NDArray[Any]], name: str, dtype: npt.DTypeLike, *shape: int | None
) -> npt.NDArray[Any]:
    """Return the array `name` after checking dtype and shape (None: any length). `ReplayError`: they differ."""
    array = arrays.get(name)
    if array is None:
        raise ReplayError(f"the array {name!r} is missing")
    fits = array.ndim == len(shape) and all(
        want is None or want == have for want, have in zip(shape, array.shape, strict=True)
    )
    if array.dtype != np.dtype(dtype) or not fits:
        raise ReplayError(f"the array {name!r} is {array.dtype} {array.shape}, expected {np.dtype(dtype)} {shape}")
    return array


def _header(data: bytes) -> dict[str, object]:
    length = int.from_bytes(data[:8], "little")
    header: dict[str, object] = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["meme57"])
    return header


def _checksum(arrays: Mapping[str, npt.NDArray[Any]]) -> int:
    value = 0
    for name in sorted(arrays):
        array = arrays[name]
        value = zlib.crc32(f"{name} {array.dtype} {array.shape}".encode(), value)
        value = zlib.crc32(array.data, value) if array.size else value
    return value
