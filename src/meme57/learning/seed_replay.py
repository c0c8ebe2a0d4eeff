"""The seed replay: the experience of the untrained agent that learning begins with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from meme57.actors import Collected, agent_spec, make_pool
from meme57.config import Parameters
from meme57.envs import EnvSpec
from meme57.errors import CheckpointError, Interrupted, ReplayError
from meme57.files import checksum, read_json, storage_errors, write_bytes, write_json
from meme57.learning.build import make_replay
from meme57.lock import hold
from meme57.replay import Chunk, SequenceReplay, decode_chunks, encode_chunks

RECORD = "record.json"
CHUNKS = "chunks.safetensors"
GROUPS = ("env", "family", "network", "novelty", "bandit", "replay", "actors")


def seed_fingerprint(parameters: Parameters) -> str:
    """Digest of everything that shapes the seed replay; the learner's settings do not."""
    tree = parameters.model_dump(mode="json", by_alias=True)
    shaping = [parameters.run.seed, parameters.loss.distil_policy, *(tree[group] for group in GROUPS)]
    text = json.dumps(shaping, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def collect_seed_replay(
    parameters: Parameters,
    env: EnvSpec,
    folder: Path,
    *,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Plays the untrained agent until `replay.min_sequences` sequences are there; a matching replay is kept.

    Returns:
        The record, also written to `folder`: fingerprint, frames, sequences, bytes, checksum.

    Raises:
        Interrupted: `stop` asked for it; nothing is written.
        RunConflictError: another process collects into this folder.
        StorageError: the folder cannot be written to.
    """
    with storage_errors(folder / CHUNKS), hold(folder):
        if (existing := _matching_record(folder, seed_fingerprint(parameters))) is not None:
            return existing
        return _collect(parameters, env, folder, stop, progress)


def _collect(
    parameters: Parameters,
    env: EnvSpec,
    folder: Path,
    stop: Callable[[], bool],
    progress: Callable[[int, int], None],
) -> dict[str, Any]:
    pool = make_pool(parameters, env, agent_spec(parameters, env), index=SEED_ACTOR)
    replay = make_replay(parameters, env)
    collected = Collected()
    try:
        while len(replay) < parameters.replay.min_sequences:
            if stop():
                raise Interrupted("stopped while collecting: start again to collect the seed replay")
            _take(pool.collect(parameters.actors.weights_period_steps), replay, collected)
            progress(min(len(replay), parameters.replay.min_sequences), parameters.replay.min_sequences)
        _take(pool.cut_episodes(), replay, collected)
        replay.end_pending()  # actors that were lost
    finally:
        pool.close()
    content = encode_chunks(collected.chunks)
    write_bytes(folder / CHUNKS, content)
    record = {
        "fingerprint": seed_fingerprint(parameters),
        "game": env.game,
        "frames": collected.num_steps * env.frame_skip,
        "steps": collected.num_steps,
        "sequences": len(replay),
        "chunks": len(collected.chunks),
        "episodes": len(collected.episodes),
        "mean_return": _mean([episode.extrinsic_return for episode in collected.episodes]),
        "bytes": len(content),
        "bytes_per_step": round(len(content) / max(1, collected.num_steps), 1),
        "sha256": checksum(folder / CHUNKS),
    }
    write_json(folder / RECORD, record)
    return record


def load_seed_replay(parameters: Parameters, folder: Path) -> tuple[list[Chunk], dict[str, Any]]:
    """The chunks and the record.

    Raises:
        ReplayError: missing, damaged, or collected with other settings.
    """
    remedy = "collect it with `kedro run --pipelines collect`"
    if not (folder / RECORD).is_file():
        raise ReplayError(f"no seed replay in {folder}: {remedy}")
    try:
        record = read_json(folder / RECORD)
    except CheckpointError as error:
        raise ReplayError(f"{error}: delete {folder} and {remedy}") from error
    if not isinstance(record, dict):
        raise ReplayError(f"{folder / RECORD} is damaged: it holds no object: delete {folder} and {remedy}")
    if record.get("fingerprint") != seed_fingerprint(parameters):
        raise ReplayError(f"the seed replay in {folder} was collected with other settings: {remedy}")
    chunks = folder / CHUNKS
    if not chunks.is_file() or checksum(chunks) != record.get("sha256"):
        raise ReplayError(f"{chunks} is damaged or missing: delete {folder} and {remedy}")
    decoded = decode_chunks(chunks.read_bytes())
    steps = sum(chunk.num_steps for chunk in decoded)
    if record.get("steps") != steps or record.get("frames") != steps * parameters.env.frame_skip:
        raise ReplayError(
            f"{folder / RECORD} is damaged: it does not count {steps} steps: delete {folder} and {remedy}"
        )
    return decoded, record


SEED_ACTOR = 900
"""Actor number of the seed replay, so that its seeds and identities differ from those of learning."""


def _take(new: Collected, replay: SequenceReplay, collected: Collected) -> None:
    replay.add(new.chunks)
    replay.end_pending(new.lost_actors)
    collected.add(new)


def _matching_record(folder: Path, fingerprint: str) -> dict[str, Any] | None:
    try:
        record: dict[str, Any] = read_json(folder / RECORD)
        if record["fingerprint"] == fingerprint and checksum(folder / CHUNKS) == record["sha256"]:
            return record
    except Exception:
        return None
    return None


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
