"""The cost of checkpoints: time and bytes with a replay of a million agent steps, and their share of training time.

    python benchmarks/bench_checkpoint.py size [--steps 1000000] [--games Breakout Seaquest]
    python benchmarks/bench_checkpoint.py share [--frames 400000]

`size`: the network and the replay of `conf/gpu`. Random play of real games is recorded once, then stored repeatedly
under other identities until the replay is full. Every chunk is compressed, held and written on its own. Each save is
compared with writing the same number of bytes to one file. `share`: a real run of `conf/laptop`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from bench_replay import SETTINGS, play
from meme57.blueprint import agent_spec, make_replay
from meme57.checkpoints.store import CheckpointStore
from meme57.config import Parameters, parse_parameters
from meme57.envs import env_spec
from meme57.evaluation.ranking import checkpoint_evaluation
from meme57.files import write_bytes
from meme57.learning.learner import Learner
from meme57.learning.policies import describe
from meme57.learning.trainer import Trainer, TrainingEvent
from meme57.replay import Chunk, SequenceReplay, collect_garbage, load_snapshot, save_snapshot
from presets import preset

RECORDED_STEPS = 40_000
EPISODES_APART = 1_000_000
GOAL = 0.02


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Call `work`; return its result and its seconds."""
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def recorded(game: str, seed: int) -> list[Chunk]:
    """Record chunks of random play, in the order in which they were finished."""
    _, stream = play(game, SETTINGS["paper"], seed)
    chunks: list[Chunk] = []
    while sum(chunk.num_steps for chunk in chunks) < RECORDED_STEPS:
        chunks.append(next(stream))
    stream.close()  # type: ignore[attr-defined]
    return chunks


def endless(chunks: list[Chunk]) -> Iterator[Chunk]:
    """Repeat the same play endlessly, each time as other episodes."""
    for again in range(1 << 20):
        for chunk in chunks:
            yield dataclasses.replace(chunk, episode=chunk.episode + again * EPISODES_APART)


def add_steps(replay: SequenceReplay, stream: Iterator[Chunk], num_steps: int) -> None:
    """Add that many steps to the replay."""
    while num_steps > 0:
        chunk = next(stream)
        replay.add([chunk])
        num_steps -= chunk.num_steps


def stepped_learner(parameters: Parameters) -> Learner:
    """Make a learner whose optimisers hold moments, as after training."""
    learner = Learner(parameters, agent_spec(parameters, env_spec(parameters.env)))
    for optimiser in (learner.optimiser, learner.novelty_optimiser):
        for parameter in chain.from_iterable(group["params"] for group in optimiser.param_groups):
            parameter.grad = torch.full_like(parameter, 1e-3)
        optimiser.step()
    return learner


class Saver:
    """Saves as the trainer does: replay, checkpoint, garbage."""

    def __init__(self, parameters: Parameters, folder: Path, learner: Learner, replay: SequenceReplay) -> None:
        self.folder, self.learner, self.replay = folder, learner, replay
        self.store = CheckpointStore(
            folder, fingerprint=parameters.fingerprint(), configuration=parameters.configuration(), keep=2
        )
        spec = agent_spec(parameters, env_spec(parameters.env))
        self.description = describe(env_spec(parameters.env), spec.network, spec.novelty, parameters)
        self.index: dict[str, Any] | None = None
        self.frames = 0

    def save(self) -> dict[str, Any]:
        """Measure seconds for replay and weights, bytes written, and seconds to write as many bytes to one file."""
        before = set(self.folder.rglob("*"))
        self.index, replay_seconds = timed(lambda: save_snapshot(self.replay, self.folder / "replay", self.index))
        _, weight_seconds = timed(self._save_weights)
        new = [path for path in self.folder.rglob("*") if path.is_file() and path not in before]
        size = sum(path.stat().st_size for path in new)
        _, plain_seconds = timed(lambda: write_bytes(self.folder / "plain", bytes(size)))
        (self.folder / "plain").unlink()
        return {
            "replay_seconds": replay_seconds,
            "weight_seconds": weight_seconds,
            "megabytes": size / 1e6,
            "plain_write_seconds": plain_seconds,
        }

    def _save_weights(self) -> None:
        self.frames += 1_000_000
        state = {
            "frames": self.frames, "elapsed_seconds": 0.0, "learner": self.learner.state_dict(),
            "limiter": {"drawn": 0, "inserted": 0}, "statistics": {"num_episodes": 0, "exploit_returns": []},
            "pool": {}, "random": {}, "replay": self.index, "row": {},
        }  # fmt: skip
        self.store.save(
            tensors=self.learner.tensors(), state=state, description=self.description, frames=self.frames,
            updates=self.learner.num_updates, score=None,
        )  # fmt: skip
        collect_garbage(self.folder / "replay", self.store.replay_indices())

    def load(self, parameters: Parameters) -> dict[str, float]:
        """Measure the seconds to check everything and read it back."""
        replay, learner = make_replay(parameters, env_spec(parameters.env)), stepped_learner(parameters)
        checkpoint, check_seconds = timed(self.store.newest)
        assert checkpoint is not None
        _, replay_seconds = timed(lambda: load_snapshot(replay, self.folder / "replay", checkpoint.state["replay"]))
        names = ("network", "target", "novelty", "optimiser", "novelty_optimiser", "scales")
        _, weight_seconds = timed(lambda: learner.load_tensors({name: checkpoint.tensors(name) for name in names}))
        assert replay.num_chunks == self.replay.num_chunks
        return {"check_seconds": check_seconds, "replay_seconds": replay_seconds, "weight_seconds": weight_seconds}


def measure_size(game: str, num_steps: int, seed: int) -> dict[str, Any]:
    """Measure the first save, a save one checkpoint period later, one with nothing new, and the load."""
    parameters = preset("gpu")
    period_steps = parameters.run.checkpoint_period_frames // parameters.env.frame_skip
    parameters = parse_parameters(
        {**parameters.model_dump(mode="json", by_alias=True),
         "replay": {**parameters.replay.model_dump(), "capacity_sequences": num_steps // parameters.replay.period}}
    )  # fmt: skip
    learner, replay = stepped_learner(parameters), make_replay(parameters, env_spec(parameters.env))
    stream = endless(recorded(game, seed))
    add_steps(replay, stream, num_steps)
    with tempfile.TemporaryDirectory() as name:
        saver = Saver(parameters, Path(name), learner, replay)
        saves = {"first": saver.save()}
        add_steps(replay, stream, period_steps)
        saves["one period later"] = saver.save()
        saves["nothing new"] = saver.save()
        load = saver.load(parameters)
    return {
        "game": game,
        "replay_megabytes": replay.num_bytes / 1e6,
        "sequences": len(replay),
        "saves": saves,
        "load": load,
    }


class TimedTrainer(Trainer):
    """Measures the time of its checkpoints and their evaluations."""

    checkpoint_seconds = 0.0
    num_checkpoints = 0

    def _checkpoint(self, *arguments: Any, **options: Any) -> TrainingEvent:
        event: TrainingEvent
        event, seconds = timed(lambda: super(TimedTrainer, self)._checkpoint(*arguments, **options))
        self.checkpoint_seconds += seconds
        self.num_checkpoints += 1
        return event


def measure_share(num_frames: int) -> dict[str, Any]:
    """Measure a run of `conf/laptop` without the seed replay: the actors warm up themselves."""
    parameters = preset("laptop", run={"total_frames": num_frames})
    evaluate, evaluation_seconds = checkpoint_evaluation(parameters), [0.0]

    def timed_evaluation(network: Any, novelty: Any) -> float:
        assert evaluate is not None
        score, seconds = timed(lambda: evaluate(network, novelty))
        evaluation_seconds[0] += seconds
        return float(score)

    with tempfile.TemporaryDirectory() as name:
        trainer = TimedTrainer(parameters, env_spec(parameters.env), Path(name), evaluate=timed_evaluation)
        events, seconds = timed(lambda: list(trainer.run()))
        size = sum(path.stat().st_size for path in Path(name).rglob("*") if path.is_file())
    return {
        "frames": events[-1].frames,
        "updates": events[-1].updates,
        "seconds": seconds,
        "checkpoints": trainer.num_checkpoints,
        "standing_still_seconds": trainer.checkpoint_seconds - evaluation_seconds[0],
        "evaluation_seconds": evaluation_seconds[0],
        "folder_megabytes": size / 1e6,
    }


def print_size(figures: list[dict[str, Any]]) -> None:
    """Print one table for all games."""
    print("| game | save | replay, s | weights, s | MB written | as one file, s |\n|---|---|---|---|---|---|")
    for row in figures:
        for name, save in row["saves"].items():
            print(
                f"| {row['game']} | {name} | {save['replay_seconds']:.2f} | {save['weight_seconds']:.2f} "
                f"| {save['megabytes']:.1f} | {save['plain_write_seconds']:.2f} |"
            )
    for row in figures:
        print(
            f"\n{row['game']}: {row['sequences']:,} sequences, {row['replay_megabytes']:.0f} MB in memory; load: "
            + ", ".join(f"{name.removesuffix('_seconds')} {seconds:.2f} s" for name, seconds in row["load"].items())
        )


def print_share(figures: dict[str, Any]) -> None:
    """Print shares of the total time."""
    whole = figures["seconds"]
    print(
        f"{figures['frames']:,} frames, {figures['updates']:,} updates, {whole:.1f} s, "
        f"{figures['checkpoints']} checkpoints"
    )
    for name in ("standing_still_seconds", "evaluation_seconds"):
        print(f"{name}: {figures[name]:.2f} s, {100 * figures[name] / whole:.2f} %")
    verdict = "kept" if figures["standing_still_seconds"] < GOAL * whole else "MISSED"
    print(f"goal: standing still without evaluation under {100 * GOAL:g} %: {verdict}")


def main() -> None:
    """Measure one of the two, print it, and write all figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["size", "share"])
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--games", nargs="+", default=["Breakout", "Seaquest"])
    parser.add_argument("--frames", type=int, default=400_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    figures: Any
    if arguments.what == "size":
        figures = [measure_size(game, arguments.steps, arguments.seed) for game in arguments.games]
        print_size(figures)
    else:
        figures = measure_share(arguments.frames)
        print_share(figures)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
