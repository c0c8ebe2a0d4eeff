"""Breaks actors, machines and cables of a Ray cluster while the agent trains on a real game; then counts every chunk.

The cluster is several Ray nodes on this machine, each in a network namespace (`ray_machines.py`; needs root). At random
moments an actor's process is killed or stopped, a machine loses its power or hangs, or its cable is pulled, for less
and for more than the timeouts. Every chunk that the learner acknowledged is recorded as it enters replay.
At the end, each of them must be in replay once and unchanged, none from an actor that had been given up. Steps and
episodes must be counted once. Then a second driver resumes from the checkpoint and finishes the run.

    python benchmarks/chaos_ray.py --faults 30 --seed 1 --json docs/data/scaling/chaos.json
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import random
import signal
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from meme57.actors import Collected
from meme57.actors.ray_pool import RayPool
from meme57.config import Parameters, parse_parameters
from meme57.envs import env_spec
from meme57.errors import Interrupted
from meme57.learning.trainer import Trainer
from meme57.replay import Chunk
from meme57.replay.store import chunk_checksum
from ray_machines import Machine, cluster

PERIOD, SKIP = 8, 4
MORE_FRAMES = 4_000
PATIENCE_SECONDS = 90.0
CONFIG: dict[str, Any] = {
    "run": {"checkpoint_period_frames": 20_000, "log_period_frames": 5_000, "total_frames": 100_000_000,
            "name": "chaos"},
    "env": {"game": "Pong", "num_envs": 6, "height": 36, "width": 36, "max_episode_frames": 1_000},
    "family": {"num_policies": 3},
    "network": {"torso": "small", "lstm_size": 8, "head_size": 8, "feature_size": 8, "small_channels": [3, 4]},
    "novelty": {"embedding_size": 4, "channels": [3, 4], "hidden_size": 8, "rnd_size": 4, "memory_size": 100},
    "replay": {"period": PERIOD, "capacity_sequences": 200_000, "min_sequences": 40, "samples_per_insert": 1.0},
    "actors": {"pool": "ray", "weights_period_steps": 20, "groups": 1},
    "bandit": {"scope": "shared"},
    "learner": {"mode": "overlapped", "batch_size": 16},
    "ray": {"workers": 3, "cpus_per_worker": 0.5, "timeout_seconds": 6.0, "start_seconds": 45.0,
            "max_staleness_updates": 1_000_000},
}  # fmt: skip
FAULTS = ("actor killed", "actor hangs", "machine killed", "machine hangs", "cable cut, short", "cable cut, long")


class Ledger:
    """A record of the chunks that entered the learner's replay, and of the actors that the pool gave up."""

    def __init__(self, trainer: Trainer) -> None:
        self.checksums: dict[tuple[int, int, int], int] = {}
        self.twice = self.late = self.ended = self.cut = self.steps = 0
        self._lost: set[int] = set()
        self._add, self._cut = trainer.state.replay.add, trainer.state.pool.cut_episodes
        self._end = trainer.state.replay.end_pending
        trainer.state.replay.add = self._acknowledge  # type: ignore[method-assign, assignment]
        trainer.state.replay.end_pending = self._given_up  # type: ignore[method-assign, assignment]
        trainer.state.pool.cut_episodes = self._count_cut  # type: ignore[method-assign]

    def _acknowledge(self, chunks: list[Chunk]) -> int:
        for chunk in chunks:
            name = (chunk.actor, chunk.episode, chunk.index)
            self.twice += name in self.checksums
            self.late += chunk.actor in self._lost
            self.ended += chunk.is_last
            self.steps += chunk.num_steps
            self.checksums[name] = chunk_checksum(chunk)
        return self._add(chunks)

    def _given_up(self, actors: list[int] | None = None, ended: Collection[tuple[int, int]] = ()) -> int:
        self._lost.update(actors or ())
        return self._end(actors, ended)

    def _count_cut(self) -> Collected:
        collected = self._cut()
        self.cut += sum(chunk.is_last for chunk in collected.chunks) - len(collected.episodes)
        return collected

    def check(self, trainer: Trainer, row: dict[str, float], *, before: int = 0) -> dict[str, Any]:
        """Return the account; fail if it does not balance. `before` is the number of steps that a resumed run had."""
        held = list(trainer.state.replay.contents()[1].values())
        counted = Counter((chunk.actor, chunk.episode, chunk.index) for chunk in held)
        same = {(c.actor, c.episode, c.index): chunk_checksum(c) for c in held}
        open_steps = int(row["frames"]) // SKIP - before - self.steps
        envs = CONFIG["env"]["num_envs"] // CONFIG["ray"]["workers"]
        faults = {
            "acknowledged chunks that are not in replay": sum(name not in counted for name in self.checksums),
            "chunks that are in replay twice": sum(count > 1 for count in counted.values()),
            "chunks that changed": sum(same.get(name) != value for name, value in self.checksums.items()),
            "chunks acknowledged twice": self.twice,
            "chunks of an actor after it was given up": self.late,
            "episodes counted wrongly": abs(self.ended - self.cut - int(row["episodes/count"])) if not before else 0,
            "steps that no lost actor explains": max(0, open_steps - len(self._lost) * envs * PERIOD, -open_steps),
        }
        if any(faults.values()):
            raise SystemExit(f"FAILED: {faults}")
        return {**faults, "acknowledged chunks": len(self.checksums), "steps": self.steps,
                "steps in open chunks of lost actors": open_steps, "episodes": int(row["episodes/count"]),
                "actors given up": len(self._lost)}  # fmt: skip


class Chaos(threading.Thread):
    """Causes one fault after the other and measures how long the pool takes to recover."""

    def __init__(self, pool: RayPool, machines: list[Machine], num_faults: int, seed: int, cpus: int) -> None:
        super().__init__(name="chaos", daemon=True)
        self._pool, self._machines, self._num, self._cpus = pool, machines[1:], num_faults, cpus
        self._rng = random.Random(seed)
        self.log: list[dict[str, Any]] = []
        self.error: BaseException | None = None
        self.done = threading.Event()

    def run(self) -> None:
        """Cause all faults; set `done` at the end, whatever happens."""
        try:
            self._wait(lambda: self._everyone_plays() and self._joined() == len(self._machines))
            kinds = [FAULTS[number % len(FAULTS)] for number in range(self._num)]
            self._rng.shuffle(kinds)
            for kind in kinds:
                time.sleep(self._rng.uniform(0.5, 3.0))
                self._one(kind)
        except BaseException as error:
            self.error = error
        finally:
            self.done.set()

    def _one(self, kind: str) -> None:
        before, lost = self._lives(), self._pool.crew.counts["lost"]
        start = time.monotonic()
        machine, process = self._victim()
        hurt = self._hurt(kind, machine, process)
        # short faults may pass unnoticed, which is fine
        with contextlib.suppress(TimeoutError):
            limit = 5.0 if kind == "cable cut, short" else PATIENCE_SECONDS
            self._wait(lambda: self._pool.crew.counts["lost"] > lost, seconds=limit)
        noticed = time.monotonic() - start if self._pool.crew.counts["lost"] > lost else None
        with contextlib.suppress(TimeoutError):
            self._wait(self._everyone_plays)
        recovered = time.monotonic() - start if self._everyone_plays() else None
        self._heal(machine, process)
        self._wait(lambda: self._repaired() and self._everyone_plays() and self._joined() >= len(self._machines) - 1)
        given_up = sorted(before - self._lives())
        self.log.append({"fault": kind, "hurt": hurt, "noticed_seconds": noticed, "recovered_seconds": recovered,
                         "actors_lost": len(given_up)})  # fmt: skip
        print(f"{len(self.log):3d}  {kind:16s}  {json.dumps(self.log[-1])}", flush=True)

    def _victim(self) -> tuple[Machine, int]:
        """Choose a machine that an actor plays on, and that actor's process."""
        owner = {process: machine for machine in self._machines for process in machine.processes()}
        worker = self._rng.choice(self._pool.crew.playing())
        process = int(worker.where.rpartition("process ")[2].rstrip(")"))
        return owner[process], process

    def _hurt(self, kind: str, machine: Machine, process: int) -> str:
        if kind.startswith("actor"):
            os.kill(process, signal.SIGKILL if kind == "actor killed" else signal.SIGSTOP)
            return f"process {process} on {machine.name}"
        if kind.startswith("machine"):
            machine.signal(signal.SIGKILL if kind == "machine killed" else signal.SIGSTOP)
            return machine.name
        machine.cable("down")
        if kind == "cable cut, short":
            time.sleep(self._rng.uniform(0.3, 2.0))
            machine.cable("up")
        return machine.name

    def _heal(self, machine: Machine, process: int) -> None:
        """Put the cable back and let stopped processes continue; they may still send answers."""
        machine.cable("up")
        machine.signal(signal.SIGCONT)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGCONT)
        time.sleep(2.0)

    def _repaired(self) -> bool:
        """Restart every machine whose Ray has ended; a machine declared dead ends when it learns of it."""
        for machine in self._machines:
            if not machine.is_up:
                machine.stop()
                machine.start(cpus=self._cpus, waits=False)
        return True

    def _everyone_plays(self) -> bool:
        return len(self._lives()) == len(self._pool.crew.slots)

    def _joined(self) -> int:
        """Count the machines that Ray calls alive, without the head."""
        ray = self._pool.crew.ray
        return sum(node["Alive"] for node in ray.nodes()) - 1 if ray.is_initialized() else 0

    def _lives(self) -> set[int]:
        return {worker.life for worker in self._pool.crew.playing()}

    def _wait(self, is_so: Any, *, seconds: float = PATIENCE_SECONDS) -> None:
        end = time.monotonic() + seconds
        while not is_so():
            if time.monotonic() > end:
                crew = self._pool.crew
                nodes = {node["NodeManagerAddress"]: node["Alive"] for node in crew.ray.nodes()}
                raise TimeoutError(f"not within {seconds:g} s: {nodes} {[slot.worker for slot in crew.slots]}")
            time.sleep(0.05)


def parameters(**run: Any) -> Parameters:
    """Return the parameters of the benchmark's run."""
    return parse_parameters({**CONFIG, "run": {**CONFIG["run"], **run}})


def first_life(folder: Path, machines: list[Machine], num_faults: int, seed: int, cpus: int) -> dict[str, Any]:
    """Train while things break; stop with a checkpoint when all faults are over."""
    settings = parameters()
    done = threading.Event()
    trainer = Trainer(settings, env_spec(settings.env), folder, stop=done.is_set)
    assert isinstance(trainer.state.pool, RayPool)
    ledger = Ledger(trainer)
    chaos = Chaos(trainer.state.pool, machines, num_faults, seed, cpus)
    done = chaos.done
    trainer._stop = done.is_set
    chaos.start()
    rows: list[dict[str, float]] = []
    start = time.monotonic()
    with contextlib.suppress(Interrupted):
        for event in trainer.run():
            rows += event.rows
    chaos.join()
    if chaos.error is not None:
        raise SystemExit(f"FAILED after {len(chaos.log)} faults: {chaos.error}")
    account = ledger.check(trainer, rows[-1])
    return {"seconds": time.monotonic() - start, "frames": rows[-1]["frames"], "updates": rows[-1]["updates"],
            "samples_per_insert": rows[-1]["replay/samples_per_insert"],
            "waiting_seconds": rows[-1]["actors/waiting_seconds"],
            "staleness_largest_updates": max(row.get("actors/staleness_largest_updates", 0.0) for row in rows),
            "account": account, "faults": chaos.log}  # fmt: skip


def second_life(folder: Path, frames: int) -> dict[str, Any]:
    """Resume with another driver and finish the run."""
    settings = parameters(total_frames=frames + MORE_FRAMES)
    trainer = Trainer(settings, env_spec(settings.env), folder)
    ledger, rows = Ledger(trainer), []
    for event in trainer.run():
        rows += event.rows
    if rows[0]["frames"] != frames or rows[-1]["frames"] < frames + MORE_FRAMES:
        raise SystemExit(f"FAILED: it resumed at {rows[0]['frames']} and ended at {rows[-1]['frames']}")
    return {"from": rows[0]["frames"], "to": rows[-1]["frames"],
            "account": ledger.check(trainer, rows[-1], before=frames // SKIP)}  # fmt: skip


def table(faults: list[dict[str, Any]]) -> str:
    """Format the faults by kind."""
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for fault in faults:
        groups[fault["fault"]].append(fault)
    lines = [
        "| fault | times | actors given up | noticed after s, median (most) | playing again after s, median (most) |",
        "|---|---|---|---|---|",
    ]
    for kind in FAULTS:
        seen = [fault for fault in groups[kind] if fault["noticed_seconds"] is not None]
        lost = sum(fault["actors_lost"] for fault in groups[kind])
        times = [_times([fault[name] for fault in seen]) for name in ("noticed_seconds", "recovered_seconds")]
        lines.append(f"| {kind} | {len(groups[kind])} | {lost} | {times[0]} | {times[1]} |")
    return "\n".join(lines)


def _times(seconds: list[float]) -> str:
    return f"{np.median(seconds):.1f} ({max(seconds):.1f})" if seconds else "-"


def main() -> None:
    """Run it, print the account, and exit with an error at the first thing that does not balance."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faults", type=int, default=30)
    parser.add_argument("--machines", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    logging.basicConfig(format="%(asctime)s  %(message)s", datefmt="%H:%M:%S", level=logging.WARNING)
    logging.getLogger("meme57").setLevel(logging.INFO)
    with tempfile.TemporaryDirectory() as name, cluster(arguments.machines, cpus=2) as machines:
        first = first_life(Path(name) / "run", machines, arguments.faults, arguments.seed, 2)
        second = second_life(Path(name) / "run", int(first["frames"]))
    print(table(first["faults"]), json.dumps(first["account"], indent=1), json.dumps(second, indent=1), sep="\n\n")
    if arguments.json is not None:
        options = {key: value for key, value in vars(arguments).items() if key != "json"}
        figures = {"options": options, "config": CONFIG, "first": first, "second": second}
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
