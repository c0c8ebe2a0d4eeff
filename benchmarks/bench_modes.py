"""End to end: frames per second of the overlapped mode compared with the synchronous one, on the same run.

    python benchmarks/bench_modes.py [--repetitions 2] [--frames 40000] [--json PATH]

Both train conf/laptop (with a GPU: conf/gpu) from scratch, in turn. The speed is measured after the warm-up: frames
while the learner learns, per wall second, without checkpoints. Samples per insert show that both did the same work.
"""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from meme57.config import parse_parameters
from meme57.envs import env_spec
from meme57.learning.trainer import learn
from presets import preset
from timing import command, show, spread

MODES = ("synchronous", "overlapped")
WARM_UP_SEQUENCES = 200


def train(mode: str, seed: int, frames: int) -> dict[str, float]:
    """Train one run and return its speed after the warm-up."""
    tree = preset("gpu" if torch.cuda.is_available() else "laptop").model_dump(mode="json", by_alias=True)
    warm_up, period = WARM_UP_SEQUENCES * tree["replay"]["period"] * 4, frames // 10
    tree["run"] |= {
        "seed": seed, "total_frames": 2 * warm_up + frames, "log_period_frames": period,
        "checkpoint_period_frames": 10**9,
    }  # fmt: skip
    tree["replay"]["min_sequences"] = WARM_UP_SEQUENCES
    tree["learner"] |= {"mode": mode, "evaluation_episodes": 0}
    parameters = parse_parameters(tree)
    with tempfile.TemporaryDirectory() as folder:
        events = learn(parameters, env_spec(parameters.env), Path(folder))
        rows = [event.rows[0] for event in events if event.rows and not event.checkpoint]
    learning = [row for row in rows if row["updates"] > 0]
    first, last = learning[0], learning[-1]
    seconds = last["elapsed_seconds"] - first["elapsed_seconds"]
    return {
        "frames_per_second": (last["frames"] - first["frames"]) / seconds,
        "updates_per_second": (last["updates"] - first["updates"]) / seconds,
        "samples_per_insert": last["replay/samples_per_insert"],
    }


def measure(repetitions: int, frames: int) -> dict[str, Any]:
    """Measure both modes, in turn."""
    runs: dict[str, list[dict[str, float]]] = {mode: [] for mode in MODES}
    for seed, mode in itertools.product(range(1, repetitions + 1), MODES):
        runs[mode].append(train(mode, seed, frames))
    speeds = {mode: np.array([run["frames_per_second"] for run in runs[mode]]) for mode in MODES}
    rows = [
        {
            "mode": mode,
            **{name: spread(np.array([run[name] for run in runs[mode]])) for name in runs[mode][0]},
            "over_synchronous": spread(speeds[mode] / speeds["synchronous"]),
        }
        for mode in MODES
    ]
    return {"rows": rows}


def table(figures: dict[str, Any]) -> str:
    """Format the figures as Markdown."""
    lines = [
        "| mode | ALE frames/s | updates/s | samples per insert | over synchronous |",
        "|---|---|---|---|---|",
    ]
    for row in figures["rows"]:
        lines.append(
            f"| {row['mode']} | {show(row['frames_per_second'], 0)} | {show(row['updates_per_second'], 1)} "
            f"| {show(row['samples_per_insert'])} | {show(row['over_synchronous'])} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    command(__doc__, measure, table, repetitions=2, frames=40_000)
