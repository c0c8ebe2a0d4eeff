"""Replay of real Atari frames: bytes per agent step, and the speed of `sample` compared with a plain memory copy.

    python benchmarks/bench_replay.py [--json PATH] [--settings laptop paper] [--repetitions 15] [--runs FOLDER ...]

Games are played at random; `--runs` adds the bytes per step in the replays of finished runs (`data/06_models/<run>`).
Every speed is a ratio. `sample`, its frame decoding alone, and `np.copyto` of as many bytes as the batch's frames run
in turn, in one process on one thread; 1.0 is as fast as copying the frames once. Only the recurrent state, the
embeddings and the intrinsic rewards are random numbers, of the sizes of the setting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from meme57.agent.inputs import left_behind
from meme57.config.groups import EnvParameters
from meme57.envs import env_spec, make_env
from meme57.replay import (
    Chunk,
    SequenceReplay,
    StepInputs,
    compress_frames,
    decode_chunks,
    decompress_frames_into,
    encode_chunks,
)
from timing import command, in_turn, spread

GAMES = ("Breakout", "Seaquest", "MontezumaRevenge")


@dataclass(frozen=True)
class Setting:
    """Sizes of the replay and of its batches."""

    size: int
    period: int
    batch_size: int
    num_sequences: int
    lstm_size: int
    embedding_size: int = 32
    num_envs: int = 8


SETTINGS = {
    "laptop": Setting(size=52, period=10, batch_size=16, num_sequences=256, lstm_size=128),
    "paper": Setting(size=84, period=80, batch_size=64, num_sequences=128, lstm_size=512),
    "tiny": Setting(size=48, period=5, batch_size=4, num_sequences=16, lstm_size=16),
}


@dataclass
class Recorder:
    """Cuts one environment's episodes into chunks."""

    setting: Setting
    actor: int
    num_actions: int
    rng: np.random.Generator

    def __post_init__(self) -> None:
        self.episode, self.index = -1, 0
        self.frames: list[np.ndarray] = []
        self.steps: list[tuple[int, float]] = []
        self.inputs = self._inputs((), self.num_actions, 0.0)

    def begin(self, observation: np.ndarray) -> None:
        """Begin an episode with its first observation."""
        self.episode, self.index, self.frames, self.steps = self.episode + 1, 0, [observation], []
        self.inputs = self._inputs((), self.num_actions, 0.0)

    def record(
        self, action: int, reward: float, observation: np.ndarray, *, ended: bool, terminal: bool
    ) -> list[Chunk]:
        """Record one step; return the chunk that it completes, if any."""
        self.frames.append(observation)
        self.steps.append((action, reward))
        if len(self.steps) < self.setting.period and not ended:
            return []
        chunk = self._chunk(ended, terminal)
        last = {name: np.asarray(array[-1]) for name, array in chunk.steps._asdict().items()}
        self.index, self.frames, self.steps, self.inputs = self.index + 1, [observation], [], StepInputs(**last)
        return [chunk]

    def _chunk(self, ended: bool, terminal: bool) -> Chunk:
        actions, rewards = (np.array(column) for column in zip(*self.steps, strict=True))
        return Chunk(
            actor=self.actor,
            episode=self.episode,
            index=self.index,
            policy=0,
            weight_version=0,
            is_last=ended,
            terminal=terminal,
            frames=compress_frames(np.stack(self.frames)),
            frame_shape=(self.setting.size, self.setting.size),
            lstm_state=self.rng.normal(size=(2, self.setting.lstm_size)).astype(np.float32),
            first_inputs=self.inputs,
            steps=self._inputs((len(actions),), actions, rewards),
            mu=np.full(len(actions), 1 / self.num_actions, np.float32),
        )

    def _inputs(self, shape: tuple[int, ...], action: Any, reward: Any) -> StepInputs:
        noise = self.rng.random((3, *shape), dtype=np.float32)
        embedding = self.rng.normal(size=(*shape, self.setting.embedding_size)).astype(np.float16)
        novelty: list[npt.NDArray[Any]] = [*(np.asarray(x, np.float32) for x in noise), embedding]
        return left_behind(np.asarray(action, np.int64), np.asarray(reward, np.float32), novelty)


def play(game: str, setting: Setting, seed: int) -> tuple[int, Iterator[Chunk]]:
    """Return the number of actions and an endless stream of chunks of random play."""
    spec = env_spec(EnvParameters(game=game, height=setting.size, width=setting.size))
    return spec.num_actions, _chunks(spec, setting, np.random.default_rng(seed), seed)


def _chunks(spec: Any, setting: Setting, rng: np.random.Generator, seed: int) -> Iterator[Chunk]:
    env = make_env(spec, num_envs=setting.num_envs)
    recorders = [Recorder(setting, k, spec.num_actions, rng) for k in range(setting.num_envs)]
    for recorder, observation in zip(recorders, env.reset(seed=seed), strict=True):
        recorder.begin(observation)
    try:
        while True:
            actions = rng.integers(spec.num_actions, size=setting.num_envs)
            result = env.step(actions)
            for k, recorder in enumerate(recorders):
                observation, terminal = result.observation[k].copy(), bool(result.terminated[k])
                if result.is_reset[k]:
                    recorder.begin(observation)
                    continue
                ended = terminal or bool(result.truncated[k])
                yield from recorder.record(
                    int(actions[k]), float(result.reward[k]), observation, ended=ended, terminal=terminal
                )
    finally:
        env.close()


def fill(game: str, setting: Setting, seed: int) -> tuple[SequenceReplay, list[Chunk]]:
    """Fill a replay with a game's sequences; return it and all chunks that were added."""
    num_actions, stream = play(game, setting, seed)
    replay = SequenceReplay(
        period=setting.period,
        capacity_sequences=setting.num_sequences,
        frame_shape=(setting.size, setting.size),
        lstm_size=setting.lstm_size,
        embedding_size=setting.embedding_size,
        num_actions=num_actions,
        priority_exponent=0.6,
        importance_exponent=0.4,
    )
    added: list[Chunk] = []
    while len(replay) < setting.num_sequences:
        added.append(next(stream))
        replay.add(added[-1:])
    stream.close()  # type: ignore[attr-defined]
    return replay, added


def measure(game: str, setting: Setting, *, repetitions: int, seed: int) -> dict[str, Any]:
    """Measure sizes and alternately timed speeds of one game."""
    replay, chunks = fill(game, setting, seed)
    num_steps = sum(chunk.num_steps for chunk in chunks)
    raw = sum((chunk.num_steps + 1) * setting.size**2 for chunk in chunks)
    compressed = sum(len(chunk.frames) for chunk in chunks)
    batch, rng = replay.new_batch(setting.batch_size), np.random.default_rng(seed)
    source = np.full_like(batch.frames, 1)
    decoded = np.zeros_like(batch.frames)
    drawn = [[chunks[k] for k in rng.integers(len(chunks), size=2)] for _ in range(setting.batch_size)]

    def decode() -> None:
        for frames, pair in zip(decoded, drawn, strict=True):
            position = 0
            for chunk in pair:
                decompress_frames_into(chunk.frames, frames[position : position + chunk.num_steps + 1])
                position += chunk.num_steps

    work: dict[str, Callable[[], object]] = {
        "copy": lambda: np.copyto(decoded, source),
        "decode": decode,
        "sample": lambda: replay.sample(setting.batch_size, rng, batch),
    }
    times = in_turn(work, repetitions)
    return {
        "game": game,
        "agent_steps": num_steps,
        "frame_compression": raw / compressed,
        "frame_bytes_per_step": compressed / num_steps,
        "replay_bytes_per_step": sum(chunk.num_bytes for chunk in chunks) / num_steps,
        "sent_bytes_per_step": len(encode_chunks(chunks)) / num_steps,
        "batch_frame_bytes": batch.frames.nbytes,
        "sample_to_copy": spread(times["copy"] / times["sample"]),
        "decode_to_copy": spread(times["copy"] / times["decode"]),
        "sample_seconds": spread(times["sample"]),
        "copy_seconds": spread(times["copy"]),
    }


def stored(run: Path) -> dict[str, Any]:
    """Measure the bytes per step in the replay that a finished run left."""
    chunks = [c for file in sorted(run.rglob("segment-*.safetensors")) for c in decode_chunks(file.read_bytes())]
    if not chunks:
        raise SystemExit(f"{run} has no replay: name a run's folder, such as data/06_models/Breakout-s2")
    steps = sum(chunk.num_steps for chunk in chunks)
    return {
        "run": run.name,
        "agent_steps": steps,
        "updates": max(chunk.weight_version for chunk in chunks),
        "frame_bytes_per_step": sum(len(chunk.frames) for chunk in chunks) / steps,
        "replay_bytes_per_step": sum(chunk.num_bytes for chunk in chunks) / steps,
    }


def measure_all(
    settings: Sequence[str], games: Sequence[str], repetitions: int, seed: int, runs: Sequence[str]
) -> dict[str, Any]:
    """Measure every setting on every game, and the replays of the runs."""
    sizes = {
        name: {"rows": [measure(game, SETTINGS[name], repetitions=repetitions, seed=seed) for game in games]}
        for name in settings
    }
    return {"settings": sizes, "runs": [stored(Path(run)) for run in runs if run]}


def table(figures: dict[str, Any]) -> str:
    """Format the figures as Markdown."""
    parts = [_table(name, SETTINGS[name], entry["rows"]) for name, entry in figures["settings"].items()]
    if figures["runs"]:
        lines = [
            "| replay of run | agent steps | newest weights, updates | bytes/step: frames | all told |",
            "|---|---|---|---|---|",
        ]
        for row in figures["runs"]:
            lines.append(
                f"| {row['run']} | {row['agent_steps']:,} | {row['updates']:,} | {row['frame_bytes_per_step']:.0f} "
                f"| {row['replay_bytes_per_step']:.0f} |"
            )
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _table(name: str, setting: Setting, rows: list[dict[str, Any]]) -> str:
    lines = [
        f"**{name}**: {setting.size}x{setting.size}, period {setting.period}, batch {setting.batch_size}, "
        f"recurrent state 2 x {setting.lstm_size}, {rows[0]['batch_frame_bytes'] / 1e6:.1f} MB of frames a batch",
        "",
        "| game | agent steps | frames compressed | bytes/step: frames | in replay, all told | sent, all told "
        "| sample / copy: median (quartiles; min to max) | decode / copy: median (quartiles; min to max) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        ratios = " | ".join(
            "{median:.2f} ({q25:.2f}, {q75:.2f}; {min:.2f} to {max:.2f})".format(**row[key])
            for key in ("sample_to_copy", "decode_to_copy")
        )
        lines.append(
            f"| {row['game']} | {row['agent_steps']} | {row['frame_compression']:.0f}-fold "
            f"| {row['frame_bytes_per_step']:.0f} | {row['replay_bytes_per_step']:.0f} "
            f"| {row['sent_bytes_per_step']:.0f} | {ratios} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    command(
        __doc__, measure_all, table, settings=("laptop", "paper"), games=GAMES, repetitions=15, seed=0, runs=("",)
    )  # fmt: skip
