"""The replay on disk, incrementally: chunks are immutable, so each save writes only the new ones.

A snapshot is an *index* (JSON, stored with the checkpoint) that names one tables file and the segment files with the
live chunks. File names contain the content's hash, so a name never stands for two contents, and the snapshots of
several checkpoints share segments in one folder.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from meme57.errors import CheckpointError, ReplayError, StorageError
from meme57.files import reading_errors, tree_digest, write_bytes
from meme57.replay.blob import Arrays, pack, take, unpack
from meme57.replay.chunks import Chunk
from meme57.replay.codec import decode_chunks, encode_chunks
from meme57.replay.replay import SequenceReplay

INDEX_FORMAT = 1
TABLES_KIND = "meme57 replay tables"
SEGMENT_BYTES = 128 << 20  # a segment is closed at this many bytes of chunks, which bounds the memory of a save
_log = logging.getLogger(__name__)
_NAME = re.compile(r"(?:segment-[0-9]{12}|tables)-[0-9a-f]{16}\.safetensors")
_TEMPORARY = re.compile(rf"\.{_NAME.pattern}\.[0-9]+\.tmp")

Index = dict[str, Any]
Location = tuple[str, int]  # segment file, row in it


@dataclass(frozen=True)
class _Segment:
    file: str
    sha256: str
    num_bytes: int
    num_chunks: int


def save_snapshot(replay: SequenceReplay, folder: Path, previous: Index | None) -> Index:
    """Write the chunks that `previous` lacks, and return the new index. `previous` is the last index saved or loaded.

    If less than half of a segment is alive, its live chunks are written again into a new one. So the segments of one
    index hold at most twice the live chunks, and those of K retained indices at most 2 K times. If a file of
    `previous` is missing, its chunks are written again. No file is removed, see `collect_garbage`.
    `OSError`: the disk is full or read-only. Source: [ours].
    """
    tables, chunks = replay.contents()
    segments, places = _reusable(folder, previous, tables)
    missing = [number for number in chunks if number not in places]
    for numbers in _portions(missing, chunks):
        segment = _write_segment(folder, numbers, chunks)
        segments[segment.file] = segment
        places.update({number: (segment.file, row) for row, number in enumerate(numbers)})
    order = {file: position for position, file in enumerate(sorted(segments))}
    tables["chunk_segments"] = np.array([order[places[number][0]] for number in chunks], np.int64)
    tables["chunk_rows"] = np.array([places[number][1] for number in chunks], np.int64)
    content = pack(tables, kind=TABLES_KIND)
    digest = hashlib.sha256(content).hexdigest()
    name = f"tables-{digest[:16]}.safetensors"
    write_bytes(folder / name, content)
    return {
        "format": INDEX_FORMAT,
        "tables": {"file": name, "sha256": digest},
        "segments": [asdict(segments[file]) for file in order],
    }


def load_snapshot(replay: SequenceReplay, folder: Path, index: Index) -> None:
    """Restore a saved replay: same draws from the same generator, pending chunks and counters included.

    `CheckpointError`, the replay unchanged: a file is missing or damaged (the message names it), the index does not
    come from `save_snapshot`, or the saved replay had other sizes.
    """
    tables_file, segments = _read_index(index)
    tables = _read_tables(folder, *tables_file)
    wanted: dict[str, list[tuple[int, int]]] = {segment.file: [] for segment in segments}
    for number, (file, row) in _places(tables, segments, folder / tables_file[0]).items():
        wanted[file].append((number, row))
    chunks: dict[int, Chunk] = {}
    for segment in segments:
        rows = _decode_segment(folder, segment)
        chunks.update({number: rows[row] for number, row in wanted[segment.file]})
    try:
        replay.load_state_dict(tables, chunks)
    except ReplayError as error:
        raise CheckpointError(f"{folder / tables_file[0]} cannot be restored: {error}") from error


def replay_version(index: Index) -> str:
    """Return a short digest of a snapshot's content: equal digests mean equal replays, in any folder."""
    _read_index(index)
    return tree_digest(index)[:16]


def collect_garbage(folder: Path, keep: Iterable[Index]) -> list[str]:
    """Remove the snapshot files that no index in `keep` names, and left-over temporary files; return their names.

    Call it when the newest manifest is on disk, with the indices of all retained checkpoints. Files that are not named
    like a snapshot's are left alone. `CheckpointError`, nothing removed: an index is damaged.
    """
    kept: set[str] = set()
    for index in keep:
        (tables_file, _), segments = _read_index(index)
        kept |= {tables_file, *(segment.file for segment in segments)}
    removed = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        ours = _NAME.fullmatch(path.name) or _TEMPORARY.fullmatch(path.name)
        if ours and path.name not in kept and path.is_file():
            path.unlink()
            removed.append(path.name)
    return removed


def _reusable(folder: Path, previous: Index | None, tables: Arrays) -> tuple[dict[str, _Segment], dict[int, Location]]:
    """Return the segments of `previous` to keep and the live chunks' places in them; checksums must match too."""
    if previous is None:
        return {}, {}
    try:
        tables_file, segments = _read_index(previous)
        old = _read_tables(folder, *tables_file)
        places = _places(old, segments, folder / tables_file[0])
    except (CheckpointError, StorageError) as error:  # the new snapshot must be complete anyway
        _log.warning("the earlier replay snapshot is unusable, all chunks are written again: %s", error)
        return {}, {}
    stored = dict(zip(old["chunk_numbers"].tolist(), old["chunk_checksums"].tolist(), strict=True))
    current = zip(tables["chunk_numbers"].tolist(), tables["chunk_checksums"].tolist(), strict=True)
    alive = {number: places[number] for number, checksum in current if stored.get(number) == checksum}
    counts = Counter(file for file, _ in alive.values())
    kept = {
        segment.file: segment
        for segment in segments
        if 0 < segment.num_chunks <= 2 * counts[segment.file] and _is_there(folder, segment)
    }
    return kept, {number: place for number, place in alive.items() if place[0] in kept}


def _is_there(folder: Path, segment: _Segment) -> bool:
    path = folder / segment.file
    return path.is_file() and path.stat().st_size == segment.num_bytes


def _portions(numbers: Sequence[int], chunks: Mapping[int, Chunk]) -> Iterator[list[int]]:
    portion: list[int] = []
    size = 0
    for number in numbers:
        portion.append(number)
        size += chunks[number].num_bytes
        if size >= SEGMENT_BYTES:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion


def _write_segment(folder: Path, numbers: Sequence[int], chunks: Mapping[int, Chunk]) -> _Segment:
    content = encode_chunks([chunks[number] for number in numbers])
    digest = hashlib.sha256(content).hexdigest()
    name = f"segment-{numbers[0]:012d}-{digest[:16]}.safetensors"
    write_bytes(folder / name, content)
    return _Segment(name, digest, len(content), len(numbers))


def _read_index(index: Index) -> tuple[tuple[str, str], list[_Segment]]:
    """Return the names and checksums of an index after checking each of them."""
    try:
        if index["format"] != INDEX_FORMAT:
            raise CheckpointError(f"the replay index has format {index['format']!r}, expected {INDEX_FORMAT}")
        tables = (_checked_name(index["tables"]["file"], "tables-"), str(index["tables"]["sha256"]))
        segments = [
            _Segment(_checked_name(entry["file"], "segment-"), str(entry["sha256"]), int(entry["num_bytes"]),
                     int(entry["num_chunks"]))
            for entry in index["segments"]
        ]  # fmt: skip
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(f"the replay index is damaged: {type(error).__name__} {error}") from error
    if len({segment.file for segment in segments}) != len(segments):
        raise CheckpointError("the replay index is damaged: it names a segment twice")
    return tables, segments


def _checked_name(name: object, start: str) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name) or not name.startswith(start):
        raise CheckpointError(f"the replay index names {name!r}, which is not a snapshot file; nothing was read")
    return name


def _read(folder: Path, name: str, sha256: str) -> bytes:
    path = folder / name
    with reading_errors(path):
        content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise CheckpointError(f"{path} is damaged: its checksum does not match")
    return content


def _read_tables(folder: Path, name: str, sha256: str) -> Arrays:
    content = _read(folder, name, sha256)
    try:
        tables = unpack(content, kind=TABLES_KIND)
        count = len(take(tables, "chunk_numbers", np.int64, None))
        for column in ("chunk_checksums", "chunk_segments", "chunk_rows"):
            take(tables, column, np.int64, count)
    except ReplayError as error:
        raise CheckpointError(f"{folder / name} is damaged: {error}") from error
    return tables


def _places(tables: Arrays, segments: Sequence[_Segment], path: Path) -> dict[int, Location]:
    """Map each chunk number to its place, after checking that the place exists."""
    columns = (tables[name].tolist() for name in ("chunk_numbers", "chunk_segments", "chunk_rows"))
    places: dict[int, Location] = {}
    for number, position, row in zip(*columns, strict=True):
        if not (0 <= position < len(segments) and 0 <= row < segments[position].num_chunks):
            raise CheckpointError(f"{path} is damaged: chunk {number} lies in no segment of the index")
        places[number] = (segments[position].file, row)
    return places


def _decode_segment(folder: Path, segment: _Segment) -> list[Chunk]:
    content = _read(folder, segment.file, segment.sha256)
    try:
        chunks = decode_chunks(content)
    except ReplayError as error:
        raise CheckpointError(f"{folder / segment.file} is damaged: {error}") from error
    if len(chunks) != segment.num_chunks:
        raise CheckpointError(
            f"{folder / segment.file} holds {len(chunks)} chunks, the index says {segment.num_chunks}"
        )
    return chunks
