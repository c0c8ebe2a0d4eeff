"""The chunks of the replay: each has an ever-increasing number, and is freed when nothing refers to it any more."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from meme57.errors import ReplayError
from meme57.replay.chunks import Chunk, StepInputs


@dataclass(slots=True)
class _Held:
    chunk: Chunk
    checksum: int
    num_references: int


class ChunkStore:
    """Chunks by number, with reference counts and their total memory. It trusts its caller to validate."""

    def __init__(self) -> None:
        self._held: dict[int, _Held] = {}
        self.next_number = 0
        self.num_bytes = 0

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, number: int) -> bool:
        return number in self._held

    def __getitem__(self, number: int) -> Chunk:
        return self._held[number].chunk

    def __iter__(self) -> Iterator[int]:
        """Iterate over the numbers held, in increasing order."""
        return iter(sorted(self._held))

    def checksum(self, number: int) -> int:
        """Return the `chunk_checksum` of a chunk held."""
        return self._held[number].checksum

    def put(self, chunk: Chunk) -> int:
        """Store a chunk under the next number, with one reference that belongs to the caller."""
        number = self.next_number
        self._held[number] = _Held(chunk, chunk_checksum(chunk), num_references=1)
        self.next_number += 1
        self.num_bytes += chunk.num_bytes
        return number

    def hold(self, number: int) -> None:
        """Add a reference."""
        self._held[number].num_references += 1

    def release(self, number: int) -> None:
        """Remove a reference; removing the last one frees the chunk."""
        held = self._held[number]
        held.num_references -= 1
        if held.num_references == 0:
            self.num_bytes -= held.chunk.num_bytes
            del self._held[number]

    @classmethod
    def restored(
        cls, checksums: Mapping[int, int], chunks: Mapping[int, Chunk], references: Mapping[int, int], next_number: int
    ) -> ChunkStore:
        """Rebuild the store that held these numbers with these reference counts.

        `ReplayError`: numbers and references do not match, or a chunk is missing or differs from the one stored.
        """
        if set(checksums) != set(references) or not all(0 <= number < next_number for number in checksums):
            raise ReplayError("stored sequences and stored chunk numbers do not fit each other")
        store = cls()
        for number, checksum in checksums.items():
            if number not in chunks or chunk_checksum(chunks[number]) != checksum:
                raise ReplayError(f"chunk {number} is missing or not the one that was stored")
            store._held[number] = _Held(chunks[number], checksum, references[number])
            store.num_bytes += chunks[number].num_bytes
        store.next_number = next_number
        return store


def chunk_checksum(chunk: Chunk) -> int:
    """Return the CRC-32 of a chunk's content, to tell it from a chunk with the same number in another run."""
    identity = (chunk.actor, chunk.episode, chunk.index, chunk.policy, chunk.weight_version, chunk.is_last)
    value = zlib.crc32(repr((*map(int, identity), int(chunk.terminal), tuple(map(int, chunk.frame_shape)))).encode())
    value = zlib.crc32(chunk.frames, value)
    for inputs in (chunk.first_inputs, chunk.steps):
        value = _inputs_checksum(inputs, value)
    for array in (chunk.lstm_state, chunk.mu):
        value = zlib.crc32(array.tobytes(), value)
    return value


def _inputs_checksum(inputs: StepInputs, value: int) -> int:
    for array in inputs:
        value = zlib.crc32(np.asarray(array).tobytes(), value)
    return value
