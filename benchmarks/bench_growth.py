"""The growth of cost with replay size, environments, policies, sequence length. Exponent 0 is flat, 1 is linear.

    python benchmarks/bench_growth.py [--repetitions 5] [--json PATH]

All costs are CPU seconds on one thread, with the networks of conf/laptop; sizes of one row are timed in turn. The
replay's frames come from one real game; its chunks are stored repeatedly under new names.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from bench_learner import Update
from meme57.actors import LocalPool
from meme57.blueprint import agent_spec, make_replay
from meme57.config import Parameters, parse_parameters
from meme57.envs import env_spec
from meme57.replay import SequenceReplay
from presets import preset
from timing import command, exponent, in_turn

GAME = "MsPacman"
REPLAY_STEPS = (10_000, 100_000, 1_000_000)
ENVIRONMENTS = (8, 16, 32, 64, 128)
POLICIES = (1, 2, 4, 8, 16, 32)
SEQUENCE_STEPS = (40, 80, 160)


def changed(group: str, **values: Any) -> Parameters:
    """Return conf/laptop with one group's values changed, on one emulator thread."""
    tree = preset("laptop", env={"game": GAME, "num_threads": 1}).model_dump(mode="json", by_alias=True)
    tree[group] |= values
    return parse_parameters(tree)


def collecting(num_envs: int) -> Callable[[], object]:
    """Return a function that runs ten vector steps of the whole actor loop."""
    parameters = changed("env", num_envs=num_envs)
    env = env_spec(parameters.env)
    pool = LocalPool(parameters, env, agent_spec(parameters, env))
    return lambda: pool.collect(10)


def drawing(num_steps: int) -> Callable[[], object]:
    """Return a function that draws a batch from a replay of that many steps, and writes its priorities back."""
    replay, parameters = full_replay(num_steps)
    batch, rng = replay.new_batch(parameters.learner.batch_size), np.random.default_rng(0)

    def draw() -> None:
        replay.sample(parameters.learner.batch_size, rng, out=batch)
        replay.update_priorities(batch.sequence_ids, rng.random(len(batch.lengths)))

    return draw


def full_replay(num_steps: int) -> tuple[SequenceReplay, Parameters]:
    """Fill a replay with real chunks."""
    parameters = changed("replay", capacity_sequences=num_steps // 10)
    env = env_spec(parameters.env)
    pool = LocalPool(parameters, env, agent_spec(parameters, env))
    chunks = [c for c in pool.collect(100).chunks if c.num_steps == parameters.replay.period]
    pool.close()
    replay = make_replay(parameters, env)
    stream = itertools.cycle(chunks)
    for index in range(num_steps // 10 + 1):
        renamed: dict[str, Any] = dict(actor=0, episode=0, index=index, policy=0, is_last=False, terminal=False)
        replay.add([dataclasses.replace(next(stream), **renamed)])
    assert len(replay) == num_steps // 10
    return replay, parameters


def growth(name: str, unit: str, work: dict[int, Callable[[], object]], repetitions: int) -> dict[str, Any]:
    """Measure the median CPU seconds of each size, and the exponent over all sizes."""
    times = in_turn({str(size): run for size, run in work.items()}, repetitions, clock=time.process_time)
    medians = [float(np.median(times[str(size)])) for size in work]
    return {"what": name, "unit": unit, "sizes": list(work), "seconds": medians,
            "exponent": exponent(list(work), medians)}  # fmt: skip


def measure(repetitions: int) -> dict[str, Any]:
    """Measure every row."""
    torch.set_num_threads(1)
    rows = [
        growth("drawing a batch", "agent steps in the replay", {n: drawing(n) for n in REPLAY_STEPS}, 5 * repetitions),
        growth("ten vector steps", "environments", {n: collecting(n) for n in ENVIRONMENTS}, repetitions),
        growth("an update", "policies", {n: Update(changed("family", num_policies=n)) for n in POLICIES}, repetitions),
        growth(
            "an update", "steps of a sequence",
            {n: Update(changed("replay", period=n // 2)) for n in SEQUENCE_STEPS}, repetitions,
        ),
    ]  # fmt: skip
    return {"rows": rows}


def table(figures: dict[str, Any]) -> str:
    """Format the figures as Markdown."""
    lines = ["| cost of | over | sizes | milliseconds | exponent |", "|---|---|---|---|---|"]
    for row in figures["rows"]:
        sizes = ", ".join(f"{size:,}" for size in row["sizes"])
        costs = ", ".join(f"{1e3 * seconds:,.1f}" for seconds in row["seconds"])
        lines.append(f"| {row['what']} | {row['unit']} | {sizes} | {costs} | {row['exponent']:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    command(__doc__, measure, table, repetitions=5)
