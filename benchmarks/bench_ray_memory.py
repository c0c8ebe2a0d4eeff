"""Half an hour of synthetic load through the Ray pool: memory of the driver and of the object store, sampled.

Two synthetic actors send chunks of the paper's shape as fast as the driver takes them. New weights of `--weights` MB go
out with every round. The learner is slow on purpose (`--pause`), so the actors always have to wait.

    python benchmarks/bench_ray_memory.py --minutes 30 --csv docs/data/scaling/memory.csv
"""

from __future__ import annotations

import argparse
import csv
import gc
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch

from meme57.actors.ray_pool import RayPool
from meme57.blueprint import make_replay
from meme57.config import parse_parameters
from meme57.envs import env_spec
from synthetic_actors import SyntheticActor

CONFIG: dict[str, Any] = {
    "env": {"game": "Pong", "num_envs": 32, "height": 84, "width": 84},
    "replay": {"period": 80, "capacity_sequences": 2_000, "min_sequences": 100},
    "actors": {"pool": "ray", "weights_period_steps": 80},
    "learner": {"mode": "overlapped"},
    "ray": {"workers": 2, "cpus_per_worker": 0.5, "object_store_mb": 200},
}
FIELDS = ("seconds", "driver_mb", "object_store_mb", "objects", "chunks", "questions", "received_mb", "versions")


def resident_mb() -> float:
    """Return the resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def object_store() -> tuple[float, int]:
    """Return the MB of the object store in use, as Ray reports it, and how many objects this process refers to."""
    total, free = ray.cluster_resources(), ray.available_resources()
    used = total["object_store_memory"] - free.get("object_store_memory", 0.0)
    return used / 1e6, len(ray._private.worker.global_worker.core_worker.get_all_reference_counts())


def load(minutes: float, weights_mb: float, pause: float, sample_seconds: float) -> list[dict[str, float]]:
    """Run the load and return samples of memory."""
    parameters = parse_parameters(CONFIG)
    env = env_spec(parameters.env)
    pool, replay = RayPool(parameters, env, actor_class=SyntheticActor), make_replay(parameters, env)
    network = {"weight": torch.zeros(int(weights_mb * 1e6 / 4))}
    samples: list[dict[str, float]] = []
    start = next_sample = time.monotonic()
    version = chunks = 0
    received = 0.0
    try:
        while (now := time.monotonic()) - start < 60 * minutes:
            network["weight"][:] = version
            pool.load_weights(network, {}, version)
            version += 1
            collected = pool.collect(80)
            chunks += len(collected.chunks)
            replay.add(collected.chunks)
            received += pool.metrics()["actors/received_bytes"] / 1e6
            if now >= next_sample:
                next_sample += sample_seconds
                used, objects = object_store()
                questions = sum(len(slot.worker.questions) for slot in pool.crew.slots if slot.worker)
                values = (now - start, resident_mb(), used, objects, chunks, questions, received, version)
                samples.append(dict(zip(FIELDS, (round(float(value), 2) for value in values), strict=True)))
            time.sleep(pause)
    finally:
        pool.close()
    return samples


def drift(samples: list[dict[str, float]], name: str) -> dict[str, float]:
    """Compute mean, extremes and fitted slope per hour, after the first sixth of the time, when replay is full."""
    kept = [sample for sample in samples if sample["seconds"] > samples[-1]["seconds"] / 6]
    seconds, values = (np.array([sample[key] for sample in kept]) for key in ("seconds", name))
    slope = float(np.polyfit(seconds, values, 1)[0]) * 3600
    return {
        "mean": float(values.mean()), "min": float(values.min()), "max": float(values.max()), "slope_an_hour": slope
    }  # fmt: skip


def main() -> None:
    """Run the load, write the samples, print the drift; fail if memory grew."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--weights", type=float, default=2.0, help="MB of weights per version")
    parser.add_argument("--pause", type=float, default=0.2, help="seconds between two rounds, the learner's part")
    parser.add_argument("--every", type=float, default=20.0, help="seconds between two samples")
    parser.add_argument("--csv", type=Path)
    arguments = parser.parse_args()
    gc.collect()
    samples = load(arguments.minutes, arguments.weights, arguments.pause, arguments.every)
    if arguments.csv is not None:
        with arguments.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, FIELDS)
            writer.writeheader()
            writer.writerows(samples)
    figures = {name: drift(samples, name) for name in ("driver_mb", "object_store_mb", "objects", "questions")}
    print(json.dumps({"last": samples[-1], **figures}, indent=1))
    grown = [name for name in ("driver_mb", "object_store_mb") if figures[name]["slope_an_hour"] > 20.0]
    if grown:
        raise SystemExit(f"FAILED: grows by more than 20 MB per hour: {', '.join(grown)}")


if __name__ == "__main__":
    main()
