"""Collection: agent steps per second of the whole actor loop, compared with ALE's vector environment alone.

    python benchmarks/bench_collection.py [--games Breakout ...] [--repetitions 5] [--json PATH]

Three kinds of work in turn, on the same game with the same number of environments. `alone` is ALE's own vector
environment with random actions, as fast as possible (two halves in turn, one emulator thread per core). `stepping` is
the same with our environment class. `collection` is the pool of conf/laptop with its network, novelty, bandit and
compressed chunks. Ratios are of wall time on all cores. *CPU* is the same ratio in CPU seconds, which shows what is
left when a learner uses the other cores.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from ale_py.vector_env import AtariVectorEnv

from meme57.actors import LocalPool
from meme57.blueprint import agent_spec
from meme57.config import Parameters
from meme57.envs import EnvSpec, env_spec, make_env
from presets import preset
from timing import command, in_turn, show, spread

GAMES = ("Breakout", "MsPacman", "MontezumaRevenge")


def laptop(game: str, **actors: Any) -> Parameters:
    """Return conf/laptop on a game, with one emulator thread per core."""
    return preset("laptop", env={"game": game, "num_threads": 0}, actors=actors)


def raw_env(spec: EnvSpec, num_envs: int) -> AtariVectorEnv:
    """Make ALE's vector environment under the same protocol."""
    return AtariVectorEnv(
        spec.rom_id, num_envs, num_threads=os.cpu_count() or 1, img_height=spec.height, img_width=spec.width,
        stack_num=1, frameskip=spec.frame_skip, maxpool=spec.max_pool, noop_max=spec.noop_max, reward_clipping=False,
        use_fire_reset=False, full_action_space=spec.full_action_space,
        max_num_frames_per_episode=spec.max_episode_frames,
    )  # fmt: skip


def raw_loop(spec: EnvSpec, num_envs: int, num_steps: int) -> Callable[[], None]:
    """Step ALE's own environment with random actions."""
    halves = [raw_env(spec, num_envs // 2) for _ in range(2)]
    return _in_halves([(half.reset, half.send, half.recv) for half in halves], spec, num_envs, num_steps)


def our_loop(spec: EnvSpec, num_envs: int, num_steps: int) -> Callable[[], None]:
    """Step our environment class with random actions."""
    halves = [make_env(spec, num_envs=num_envs // 2, num_threads=0) for _ in range(2)]
    return _in_halves([(half.reset, half.send, half.receive) for half in halves], spec, num_envs, num_steps)


def _in_halves(
    halves: list[tuple[Callable[..., Any], ...]], spec: EnvSpec, num_envs: int, num_steps: int
) -> Callable[[], None]:
    """Step two halves of the environments in turn; each half is (reset, send, receive)."""
    for k, (reset, _, _) in enumerate(halves):
        reset(seed=k * 1_000)
    rng = np.random.default_rng(0)

    def run() -> None:
        for step in range(num_steps):
            for _, send, receive in halves:
                if step:
                    receive()
                send(rng.integers(spec.num_actions, size=num_envs // 2))
        for _, _, receive in halves:
            receive()

    return run


def measure_game(parameters: Parameters, *, num_steps: int, repetitions: int) -> dict[str, Any]:
    """Measure wall and CPU time of the three, in turn."""
    spec, num_envs = env_spec(parameters.env), parameters.env.num_envs
    pool = LocalPool(parameters, spec, agent_spec(parameters, spec))
    work: dict[str, Callable[[], object]] = {
        "alone": raw_loop(spec, num_envs, num_steps),
        "stepping": our_loop(spec, num_envs, num_steps),
        "collection": lambda: pool.collect(num_steps),
    }
    cpu: dict[str, list[float]] = {name: [] for name in work}

    def noting(name: str) -> Callable[[], None]:
        def run() -> None:
            start = time.process_time()
            work[name]()
            cpu[name].append(time.process_time() - start)

        return run

    wall = in_turn({name: noting(name) for name in work}, repetitions)
    pool.close()
    cpu_seconds = {name: np.array(values[-repetitions:]) for name, values in cpu.items()}
    total = num_steps * num_envs
    return {
        "game": parameters.env.game,
        "num_envs": num_envs,
        "groups": parameters.actors.groups,
        "alone_steps_per_second": spread(total / wall["alone"]),
        "stepping_to_alone": spread(wall["alone"] / wall["stepping"]),
        "collection_to_alone": spread(wall["alone"] / wall["collection"]),
        "collection_to_alone_cpu": spread(cpu_seconds["alone"] / cpu_seconds["collection"]),
    }


def measure(games: Sequence[str], repetitions: int) -> dict[str, Any]:
    """Measure every game with the pool of conf/laptop, with one group of environments and with two."""
    torch.set_num_threads(1)
    pools = [laptop(game, groups=groups) for game in games for groups in (1, 2)]
    rows = [measure_game(parameters, num_steps=60, repetitions=repetitions) for parameters in pools]
    return {"rows": rows}


def table(figures: dict[str, Any]) -> str:
    """Format the figures as Markdown."""
    lines = [
        "| game | environments | groups | ALE alone, steps/s | stepping / alone | collection / alone "
        "| collection / alone, CPU |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in figures["rows"]:
        lines.append(
            f"| {row['game']} | {row['num_envs']} | {row['groups']} | {show(row['alone_steps_per_second'], 0)} "
            f"| {show(row['stepping_to_alone'])} | {show(row['collection_to_alone'])} "
            f"| {show(row['collection_to_alone_cpu'])} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    command(__doc__, measure, table, games=GAMES, repetitions=5)
