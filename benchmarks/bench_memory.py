"""Memory of the paper's replay: 200,000 sequences of 160 steps of 84 x 84 frames, really stored.

    python benchmarks/bench_memory.py [--sequences 200000] [--games Breakout ...] [--json PATH]

A real game is played at random. Its chunks are stored repeatedly under new names, each with its own memory, until the
replay is full. The growth of the process is compared with the size of the raw frames. The limit is a machine of 24 GiB.
"""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np

from bench_replay import SETTINGS, fill
from meme57.replay import Chunk, SequenceReplay, decode_chunks, encode_chunks
from timing import command

GAMES = ("Breakout", "Seaquest", "MontezumaRevenge")
LIMIT_BYTES = 24 * 2**30


def resident_bytes() -> int:
    """Return the memory of this process."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def measure_game(game: str, num_sequences: int, *, seed: int = 0) -> dict[str, Any]:
    """Measure a full replay of one game."""
    setting = SETTINGS["paper"]
    small, played = fill(game, dataclasses.replace(setting, num_sequences=200), seed)
    layout = small.layout
    del small
    template = encode_chunks([chunk for chunk in played if chunk.num_steps == setting.period])
    del played
    gc.collect()
    before = resident_bytes()
    replay = SequenceReplay(
        period=setting.period, capacity_sequences=num_sequences, frame_shape=layout.frame_shape,
        lstm_size=layout.lstm_size, embedding_size=layout.embedding_size, num_actions=layout.num_actions,
        priority_exponent=0.6, importance_exponent=0.4,
    )  # fmt: skip
    index = 0
    while len(replay) < num_sequences:
        chunks = decode_chunks(template)  # so each chunk has its own memory
        replay.add(_renamed(chunks, index))
        index += len(chunks)
    gc.collect()
    grown = resident_bytes() - before
    batch = replay.sample(setting.batch_size, np.random.default_rng(seed))
    assert batch.mask.all()
    steps = replay.num_chunks * setting.period
    return {
        "game": game, "sequences": len(replay), "agent_steps": steps, "grown_bytes": grown,
        "replay_bytes": replay.num_bytes, "raw_bytes": steps * setting.size**2,
        "bytes_per_step": grown / steps, "fits": bool(grown < LIMIT_BYTES),
    }  # fmt: skip


def _renamed(chunks: list[Chunk], index: int) -> list[Chunk]:
    name: dict[str, Any] = {"actor": 0, "episode": 0, "policy": 0, "is_last": False, "terminal": False}
    return [dataclasses.replace(chunk, index=index + k, **name) for k, chunk in enumerate(chunks)]


def measure(games: Sequence[str], sequences: int) -> dict[str, Any]:
    """Measure every game in its own process, since a process may keep freed memory."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        return {"rows": list(pool.map(measure_game, games, [sequences] * len(games)))}


def table(figures: dict[str, Any]) -> str:
    """Format the figures as Markdown."""
    lines = [
        "| game | sequences of 160 | agent steps | raw frames | process grew by | bytes a step | fits 24 GiB |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in figures["rows"]:
        lines.append(
            f"| {row['game']} | {row['sequences']:,} | {row['agent_steps']:,} | {row['raw_bytes'] / 2**30:.0f} GiB "
            f"| {row['grown_bytes'] / 2**30:.2f} GiB | {row['bytes_per_step']:.0f} | {'yes' if row['fits'] else 'no'} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    command(__doc__, measure, table, games=GAMES, sequences=200_000)
