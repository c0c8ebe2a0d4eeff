"""Prioritised replay of sequences. Each one is two consecutive chunks of an episode; neighbours share a chunk."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

import numpy as np
import numpy.typing as npt

from meme57.errors import ReplayError
from meme57.replay.batch import BatchLayout, Pair, check_batch, fill_batch, new_batch
from meme57.replay.blob import Arrays, take
from meme57.replay.chunks import Chunk, SequenceBatch
from meme57.replay.entry import check_chunk
from meme57.replay.ring import PrioritisedRing
from meme57.replay.store import ChunkStore

PADDING = -1  # in place of the number of a missing second chunk


class SequenceReplay:
    """Stores `capacity_sequences` sequences of T = 2 `period` steps and draws them by priority.

    An episode of chunks c_0 .. c_{m-1} makes the sequences (c_i, c_{i+1}), and (c_0, padding) if m = 1. The last
    chunk starts no sequence, and no sequence crosses episodes. A sequence enters when its second chunk arrives or the
    episode ends. Chunks of one (actor, episode) must arrive in order; episodes may interleave. Methods may be called
    from several threads; `sample` decodes outside the lock. Source: MEME section 3, Sequences [period paper; trace
    inherited].
    """

    def __init__(
        self,
        *,
        period: int,
        capacity_sequences: int,
        frame_shape: tuple[int, int],
        frame_dtype: str = "uint8",
        lstm_size: int,
        embedding_size: int,
        num_actions: int,
        priority_exponent: float,
        importance_exponent: float,
    ) -> None:
        height, width = frame_shape
        if min(period, capacity_sequences, height, width, num_actions) < 1 or min(lstm_size, embedding_size) < 0:
            raise ReplayError("the replay's period, capacity, frame shape and number of actions must be at least 1")
        if not (0 <= priority_exponent < np.inf and 0 <= importance_exponent < np.inf):
            raise ReplayError(f"exponents must be at least 0, not {priority_exponent} and {importance_exponent}")
        self.layout = BatchLayout(period, (height, width), lstm_size, embedding_size, num_actions, frame_dtype)
        self.capacity_sequences = capacity_sequences
        self.importance_exponent = importance_exponent
        self._ring = PrioritisedRing(capacity_sequences, priority_exponent)
        self._chunks = ChunkStore()
        self._sequences = np.full((capacity_sequences, 2), PADDING, dtype=np.int64)  # slot -> chunk numbers
        self._pending: dict[tuple[int, int], int] = {}  # (actor, episode) -> the chunk that waits for the next one
        self._lock = threading.RLock()

    def __len__(self) -> int:
        """Return the number of sequences present."""
        return len(self._ring)

    @property
    def num_inserted(self) -> int:
        """Number of sequences that ever entered, which is the next sequence's id."""
        return self._ring.num_inserted

    @property
    def num_chunks(self) -> int:
        """Number of chunks held, pending ones included; a chunk that two sequences share counts once."""
        return len(self._chunks)

    @property
    def num_pending(self) -> int:
        """Number of open episodes whose newest chunk waits for the next one."""
        return len(self._pending)

    @property
    def num_bytes(self) -> int:
        """Bytes of all chunks held (see `Chunk.num_bytes`)."""
        return self._chunks.num_bytes

    def add(self, chunks: Iterable[Chunk]) -> int:
        """Add chunks and return the number of sequences that entered; the oldest sequences are evicted if it is full.

        All chunks are checked first: on `ReplayError` (see `entry.check_chunk`) none is added. Two chunks are paired
        if they have consecutive indices, the same episode and the same policy. After a gap the chunk waits as a new
        start, and no sequence bridges the gap. The replay owns the chunks from here on; they must not change.
        """
        arriving = list(chunks)
        for chunk in arriving:
            check_chunk(chunk, self.layout)
        with self._lock:
            completed = [pair for chunk in arriving if (pair := self._accept(chunk)) is not None]
            for offset, pair in enumerate(completed):
                self._place((self._ring.num_inserted + offset) % self.capacity_sequences, pair)
            self._ring.insert(len(completed))
        return len(completed)

    def end_pending(self, actors: Collection[int] | None = None, episodes: Collection[tuple[int, int]] = ()) -> int:
        """Treat the open episodes of these actors (None: of all) as truncated, and these (actor, episode).

        It is for actors that stopped or died, and for episodes whose last chunk was refused.

        If an episode's first chunk waits alone, it becomes a sequence with padding. Every other waiting chunk already
        belongs to a sequence, unless a gap came before it: then nothing draws it.

        Returns:
            The number of sequences that entered.
        """
        with self._lock:
            keys = [key for key in self._pending if actors is None or key[0] in actors or key in episodes]
            waiting = [self._pending.pop(key) for key in keys]
            alone = [number for number in waiting if self._chunks[number].index == 0]
            for offset, number in enumerate(alone):
                self._chunks.hold(number)
                self._place((self._ring.num_inserted + offset) % self.capacity_sequences, (number, PADDING))
            self._ring.insert(len(alone))
            for number in waiting:
                self._chunks.release(number)
        return len(alone)

    def new_batch(self, batch_size: int) -> SequenceBatch:
        """Allocate a batch that `sample` can fill again and again."""
        return new_batch(self.layout, batch_size)

    def sample(self, batch_size: int, rng: np.random.Generator, out: SequenceBatch | None = None) -> SequenceBatch:
        """Draw sequences by priority into `out` (None: a new batch) and return it.

        P(i) = p_i^priority_exponent / sum. Importance w_i = (1 / (n P(i)))^importance_exponent, divided by its largest
        value in the batch. Positions are stratified [ours], see `PrioritisedRing.draw`. `ReplayError`: the replay
        is empty, or `out` has another layout. Source: prioritised replay [inherited].
        """
        if batch_size < 1:
            raise ReplayError(f"a batch needs at least one sequence, not {batch_size}")
        batch = self.new_batch(batch_size) if out is None else out
        check_batch(self.layout, batch, batch_size)
        with self._lock:
            ids, probabilities = self._ring.draw(batch_size, rng)
            pairs = [self._pair(slot) for slot in ids % self.capacity_sequences]
            count = len(self)
        weights = (count * probabilities) ** -self.importance_exponent
        batch.sequence_ids[:] = ids
        batch.probabilities[:] = probabilities
        batch.importance[:] = weights / weights.max()
        fill_batch(batch, pairs, self.layout.num_actions)
        return batch

    def update_priorities(self, sequence_ids: npt.ArrayLike, priorities: npt.ArrayLike) -> None:
        """Set priorities [K] of sequences [K], floored at 1e-6 [ours]; evicted sequences are ignored.

        `ReplayError`, nothing changed: a priority is negative or not finite, or an id was never assigned.
        """
        with self._lock:
            self._ring.update(sequence_ids, priorities)

    def sequence_ids(self) -> npt.NDArray[np.int64]:
        """Return the ids of the sequences present [n], oldest first."""
        return self._ring.ids()

    def priorities(self) -> npt.NDArray[np.float64]:
        """Return the priorities of the sequences present [n], oldest first."""
        with self._lock:
            return self._ring.priorities()

    def effective_share(self) -> float:
        """See `PrioritisedRing.effective_share`."""
        with self._lock:
            return self._ring.effective_share()

    def contents(self) -> tuple[Arrays, dict[int, Chunk]]:
        """Return the tables and the chunks that they refer to, at one moment; chunks are shared, not copied."""
        with self._lock:
            numbers = list(self._chunks)
            tables: Arrays = {
                "settings": self._settings(),
                "counters": np.array([self._ring.num_inserted, self._chunks.next_number], np.int64),
                "sequence_ids": self._ring.ids(),
                "sequences": self._sequences[self._ring.ids() % self.capacity_sequences],
                "priorities": self._ring.priorities(),
                "pending": np.array(list(self._pending.values()), np.int64),
                "chunk_numbers": np.array(numbers, np.int64),
                "chunk_checksums": np.array([self._chunks.checksum(number) for number in numbers], np.int64),
            }
            return tables, {number: self._chunks[number] for number in numbers}

    def load_state_dict(self, tables: Mapping[str, npt.NDArray[np.generic]], chunks: Mapping[int, Chunk]) -> None:
        """Restore `contents` of a replay with the same sizes, replacing what was here.

        `ReplayError`, nothing changed: tables are inconsistent, or a chunk is missing, superfluous or a different one.
        """
        own = dict(tables)
        settings = self._settings()
        if not np.array_equal(take(own, "settings", np.int64, len(settings)), settings):
            raise ReplayError(f"stored sizes {own['settings'].tolist()} differ from this replay's {settings.tolist()}")
        num_inserted, next_number = (int(value) for value in take(own, "counters", np.int64, 2))
        ring = PrioritisedRing(self.capacity_sequences, self._ring.exponent)
        ring.restore(num_inserted, take(own, "priorities", np.float64, None))
        if not np.array_equal(take(own, "sequence_ids", np.int64, len(ring)), ring.ids()):
            raise ReplayError(f"stored sequence ids are not the last {len(ring)} of {num_inserted}")
        stored = take(own, "sequences", np.int64, len(ring), 2)
        waiting = take(own, "pending", np.int64, None)
        references = Counter([*stored[:, 0].tolist(), *stored[stored[:, 1] != PADDING, 1].tolist(), *waiting.tolist()])
        numbers = take(own, "chunk_numbers", np.int64, None).tolist()
        checksums = take(own, "chunk_checksums", np.int64, len(numbers)).tolist()
        store = ChunkStore.restored(dict(zip(numbers, checksums, strict=True)), chunks, references, next_number)
        for number in store:
            check_chunk(store[number], self.layout)
        pending = {(store[number].actor, store[number].episode): number for number in waiting.tolist()}
        if len(pending) != len(waiting):
            raise ReplayError("two stored pending chunks belong to one episode")
        sequences = np.full_like(self._sequences, PADDING)
        sequences[ring.ids() % self.capacity_sequences] = stored
        with self._lock:
            self._ring, self._chunks, self._sequences = ring, store, sequences
            self._pending = pending

    def _accept(self, chunk: Chunk) -> tuple[int, int] | None:
        """Store a chunk; return the pair of chunk numbers that it completes, with one reference to each, or None."""
        key = (chunk.actor, chunk.episode)
        number = self._chunks.put(chunk)
        previous = self._pending.pop(key, None)
        pair = None
        if previous is not None and _continues(self._chunks[previous], chunk):
            pair = (previous, number)
        elif chunk.is_last and chunk.index == 0:
            pair = (number, PADDING)
        for held in pair or ():
            if held != PADDING:
                self._chunks.hold(held)
        if previous is not None:
            self._chunks.release(previous)
        if chunk.is_last:
            self._chunks.release(number)
        else:
            self._pending[key] = number
        return pair

    def _place(self, slot: int, pair: tuple[int, int]) -> None:
        for number in self._sequences[slot].tolist():
            if number != PADDING:
                self._chunks.release(number)
        self._sequences[slot] = pair

    def _pair(self, slot: int) -> Pair:
        first, second = self._sequences[slot].tolist()
        return self._chunks[first], None if second == PADDING else self._chunks[second]

    def _settings(self) -> npt.NDArray[np.int64]:
        sizes = self.layout
        return np.array(
            [self.capacity_sequences, sizes.period, *sizes.stored_shape, sizes.lstm_size, sizes.embedding_size,
             sizes.num_actions], np.int64,
        )  # fmt: skip


def _continues(previous: Chunk, chunk: Chunk) -> bool:
    return chunk.index == previous.index + 1 and chunk.policy == previous.policy
