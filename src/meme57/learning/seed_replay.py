"""The seed replay: experience of the agent before its first update, with which learning begins."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from meme57.actors import Collected, make_pool
from meme57.blueprint import agent_spec, find_device, make_replay
from meme57.config import Parameters
from meme57.config.identity import changes, former_seed_fingerprint, is_same, seed_settings
from meme57.config.labels import digest
from meme57.envs import EnvSpec
from meme57.errors import CheckpointError, ConfigurationError, IncompatibleReplayError, Interrupted, ReplayError
from meme57.files import checksum, read_json, reading_errors, storage_errors, write_bytes, write_json
from meme57.learning.warm_start import initial_weights
from meme57.lock import hold
from meme57.replay import Chunk, SequenceReplay, decode_chunks, encode_chunks
from meme57.stopping import never

RECORD = "record.json"
CHUNKS = "chunks.safetensors"
REMEDY = "collect it with `kedro run --pipelines collect`"

logger = logging.getLogger(__name__)


def collect_seed_replay(
    parameters: Parameters,
    env: EnvSpec,
    folder: Path,
    *,
    initial_policy: Path | None = None,
    stop: Callable[[], bool] = never,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Play the untrained agent until there are `replay.min_sequences` sequences; keep a replay that matches.

    Args:
        initial_policy: folder of `keep_initial_policy`, whose weights play if the parameters have `run.init_from`.

    Returns:
        The record, also written to `folder`: fingerprint, frames, sequences, bytes, checksum.

    Raises:
        Interrupted: `stop` asked for it; nothing is written.
        ConfigurationError: `run.total_frames` were played before there were enough sequences.
        RunConflictError: another process collects into this folder.
        StorageError: the folder cannot be written to, or its files cannot be read.
    """
    with hold(folder):
        with storage_errors(folder / CHUNKS):
            existing = _matching_record(parameters, folder)
        if existing is not None:
            return existing
        return _collect(parameters, env, folder, initial_policy, stop, progress)


def _collect(
    parameters: Parameters,
    env: EnvSpec,
    folder: Path,
    initial_policy: Path | None,
    stop: Callable[[], bool],
    progress: Callable[[int, int], None],
) -> dict[str, Any]:
    torch.set_num_threads(parameters.learner.torch_threads)
    spec = agent_spec(parameters, env)
    pool = make_pool(parameters, env, spec, index=SEED_ACTOR, device=find_device())
    replay = make_replay(parameters, env)
    collected = Collected()
    try:
        if parameters.run.init_from is not None and initial_policy is not None:
            pool.begin_with(*initial_weights(spec, initial_policy, seed=parameters.run.seed), 0)
        while len(replay) < parameters.replay.min_sequences:
            if stop():
                raise Interrupted("stopped while collecting: start again to collect the seed replay")
            _take(pool.collect(_round_steps(parameters, len(replay)), stop=stop), replay, collected)
            progress(min(len(replay), parameters.replay.min_sequences), parameters.replay.min_sequences)
            if len(replay) < parameters.replay.min_sequences:
                check_frames_left(parameters, collected.num_steps * env.frame_skip)
        _take(pool.cut_episodes(), replay, collected)
        replay.end_pending()  # episodes of actors that were lost
    finally:
        pool.close()
    content = encode_chunks(collected.chunks)
    steps = sum(chunk.num_steps for chunk in collected.chunks)  # without what a lost actor never sent
    write_bytes(folder / CHUNKS, content)
    record = {
        "fingerprint": digest(seed_settings(parameters)),
        "settings": seed_settings(parameters),
        "game": env.game,
        "frames": collected.num_steps * env.frame_skip,
        "steps": steps,
        "lost_steps": collected.num_steps - steps,
        "sequences": len(replay),
        "chunks": len(collected.chunks),
        "episodes": len(collected.episodes),
        "mean_return": _mean([episode.extrinsic_return for episode in collected.episodes]),
        "bytes": len(content),
        "bytes_per_step": round(len(content) / max(1, steps), 1),
        "sha256": checksum(folder / CHUNKS),
    }
    write_json(folder / RECORD, record)
    return record


def check_frames_left(parameters: Parameters, frames: int) -> None:
    """Raise `ConfigurationError` if a seed replay of so many frames leaves none to learn from."""
    if frames >= parameters.run.total_frames:
        raise ConfigurationError(
            f"the seed replay has {frames:,} frames and run.total_frames={parameters.run.total_frames} leaves none to "
            "learn from: raise run.total_frames, or lower replay.min_sequences"
        )


def _round_steps(parameters: Parameters, num_sequences: int) -> int:
    """Return the vector steps of a round: at most those for the missing sequences, about a period of steps each."""
    missing = (parameters.replay.min_sequences - num_sequences) * parameters.replay.period
    needed = max(parameters.replay.period, math.ceil(missing / parameters.env.num_envs))
    return min(parameters.actors.weights_period_steps, needed)


def load_seed_replay(parameters: Parameters, folder: Path) -> tuple[list[Chunk], dict[str, Any]]:
    """Load the chunks and the record.

    Raises:
        IncompatibleReplayError: the seed replay was collected with other settings.
        ReplayError: it is missing or damaged.
    """
    record = _checked_record(parameters, folder)
    decoded = decode_chunks((folder / CHUNKS).read_bytes())
    steps, lost = sum(chunk.num_steps for chunk in decoded), record.get("lost_steps", 0)
    frames = (steps + lost) * parameters.env.frame_skip if isinstance(lost, int) else None
    if (record.get("steps"), record.get("frames")) != (steps, frames):
        raise _damaged(folder, f"{folder / RECORD} is damaged: its counts do not fit {steps} steps")
    return decoded, record


SEED_ACTOR = 900
"""Actor number of the seed replay, so that its seeds and identities differ from those of learning."""


def _take(new: Collected, replay: SequenceReplay, collected: Collected) -> None:
    replay.add(new.chunks)
    replay.end_pending(new.lost_actors)
    collected.add(new)


def _checked_record(parameters: Parameters, folder: Path) -> dict[str, Any]:
    """Return the record after checking settings and checksum. `ReplayError`: they do not match."""
    if not (folder / RECORD).is_file():
        raise ReplayError(f"no seed replay in {folder}: {REMEDY}")
    try:
        record: dict[str, Any] = read_json(folder / RECORD)
    except CheckpointError as error:
        raise _damaged(folder, str(error)) from error
    if not isinstance(record, dict) or not isinstance(record.get("settings", {}), dict):
        raise _damaged(folder, f"{folder / RECORD} is damaged: it is not a JSON object")
    settings, now = record.get("settings"), seed_settings(parameters)
    if not is_same(settings, record.get("fingerprint"), now, former_seed_fingerprint(parameters)):
        what = "an older version kept no list" if settings is None else changes(settings, now)
        raise IncompatibleReplayError(
            f"the seed replay in {folder} was collected with other settings ({what}): {REMEDY}"
        )
    try:
        with reading_errors(folder / CHUNKS):
            found = checksum(folder / CHUNKS)
    except CheckpointError as error:
        raise _damaged(folder, str(error)) from error
    if found != record.get("sha256"):
        raise _damaged(folder, f"{folder / CHUNKS} is damaged")
    return record


def _damaged(folder: Path, what: str) -> ReplayError:
    return ReplayError(f"{what}: delete {folder} and {REMEDY}")


def _matching_record(parameters: Parameters, folder: Path) -> dict[str, Any] | None:
    """Return the record of a valid replay with the same settings; None if there is none, with a line that says why.

    Raises:
        StorageError: the files cannot be read; then no other replay is collected in their place.
    """
    if not (folder / RECORD).exists():
        return None
    try:
        return _checked_record(parameters, folder)
    except ReplayError as error:
        logger.warning("collecting again: %s", error)
        return None


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
