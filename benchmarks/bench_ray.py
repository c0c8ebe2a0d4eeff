"""The cost of collecting with Ray: bytes on the wire, chunks per second into one learner, scaling, and the local pool.

    python benchmarks/bench_ray.py --json docs/data/scaling/costs.json

`wire` plays real games and packs their answers as an actor does. `taking in` decodes answers of the paper's shape and
adds them to replay, without Ray. `scaling` compares synthetic machines in slow motion with `scaling_model.predict`
(`PacedActor`: asleep most of the time, so that many fit on one machine). Machines without a pause show the most that
one driver can take. `real` predicts one and two actors on a real game from one and two processes without Ray.
`beside local` plays the same game in the calling process and through one Ray actor, all of it on one core.
"""

from __future__ import annotations

import os
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from typing import Any

import ray
import torch

from meme57.actors import LocalPool
from meme57.actors.actor import Collected
from meme57.actors.messages import pack_answer, pack_weights, unpack_answer
from meme57.actors.ray_pool import RayPool
from meme57.actors.remote_actor import RemoteActor
from meme57.blueprint import agent_spec, make_networks, make_replay
from meme57.config import Parameters, parse_parameters
from meme57.envs import env_spec
from scaling_model import Costs, predict
from synthetic_actors import PacedActor, SyntheticActor, template
from timing import Figures, command

GAMES = ("Breakout", "Seaquest", "MontezumaRevenge")
LAPTOP: dict[str, Any] = {
    "env": {"height": 52, "width": 52, "full_action_space": False},
    "family": {"num_policies": 4, "gamma_max": 0.99, "gamma_min": 0.95},
    "network": {"torso": "small", "lstm_size": 128, "head_size": 64, "feature_size": 64},
    "novelty": {"channels": (8, 16), "rnd_size": 32, "hidden_size": 64},
    "replay": {"period": 10, "capacity_sequences": 30_000, "min_sequences": 800},
    "actors": {"groups": 1, "weights_period_steps": 10},
    "bandit": {"scope": "shared"},
    "learner": {"mode": "overlapped"},
}
PAPER_SHAPES: dict[str, Any] = {
    "env": {"height": 84, "width": 84},
    "network": {"torso": "small", "lstm_size": 512, "head_size": 16, "feature_size": 16},
    "replay": {"period": 80},
    "learner": {"mode": "overlapped"},
}
"""The shapes of conf/gpu; torso and heads are small, since their outputs are not sent."""


def made(tree: dict[str, Any], **groups: dict[str, Any]) -> Parameters:
    """Make the parameters of a preset with changes."""
    return parse_parameters({name: {**tree.get(name, {}), **groups.get(name, {})} for name in {**tree, **groups}})


def wire(steps: int) -> list[dict[str, Any]]:
    """Measure the bytes per step of answers, by preset and game."""
    rows = []
    for preset, tree, envs in (("laptop", LAPTOP, 16), ("gpu", PAPER_SHAPES, 16)):
        for game in GAMES:
            parameters = made(tree, env={"game": game, "num_envs": envs})
            env = env_spec(parameters.env)
            pool, sent, played = LocalPool(parameters, env, agent_spec(parameters, env)), 0, 0
            for _ in range(steps // parameters.actors.weights_period_steps):
                collected = pool.collect(parameters.actors.weights_period_steps)
                sent, played = sent + len(pack_answer(collected, {"pending": [0] * 16})), played + collected.num_steps
            pool.close()
            rows.append({"preset": preset, "game": game, "bytes_per_step": sent / played})
    return rows


def weights_bytes() -> dict[str, int]:
    """Measure the size of one version of the weights."""
    gpu = {"env": {"game": "Breakout", "height": 84, "width": 84}, "novelty": {"channels": (16, 32)}}
    sizes = {}
    for preset, tree in (("laptop", LAPTOP), ("gpu", gpu)):
        parameters = made(tree)
        networks = make_networks(agent_spec(parameters, env_spec(parameters.env)), seed=1)
        sizes[preset] = len(pack_weights(*(network.state_dict() for network in networks)))
    return sizes


def taking_in(repetitions: int) -> dict[str, float]:
    """Measure the driver's seconds per chunk: decoding, checking, adding to replay; without Ray."""
    parameters = made(PAPER_SHAPES, env={"game": "Pong"})
    env = env_spec(parameters.env)
    replay, chunk, times = make_replay(parameters, env), template(parameters, env), []
    for repetition in range(repetitions):
        chunks = [replace(chunk, episode=e, index=repetition) for e in range(64)]
        answer = pack_answer(Collected(chunks=chunks, num_steps=64 * 80), {})
        start = time.perf_counter()
        collected, _ = unpack_answer(answer)
        middle = time.perf_counter()
        replay.add(collected.chunks)
        times.append((middle - start, time.perf_counter() - middle))
    decode, add = (statistics.median(column) / 64 for column in zip(*times[2:], strict=True))
    return {"decode_seconds": decode, "add_seconds": add, "chunk_seconds": decode + add}


def served(actor: type[RemoteActor], workers: int, seconds: float, *, envs: int, round_steps: int = 80) -> float:
    """Measure the chunks per second that arrive in replay from that many actors."""
    parameters = made(
        PAPER_SHAPES,
        env={"game": "Pong", "num_envs": envs * workers},
        actors={"pool": "ray", "weights_period_steps": round_steps},
        ray={"workers": workers, "cpus_per_worker": 0.1},
    )
    env = env_spec(parameters.env)
    pool, replay = RayPool(parameters, env, actor_class=actor), make_replay(parameters, env)
    network, version, taken = {"weight": torch.zeros(500_000)}, 0, 0
    try:
        while len(pool.crew.playing()) < workers:
            replay.add(pool.collect(round_steps).chunks)
        arrived = 0
        while arrived < 3:
            chunks = pool.collect(round_steps).chunks
            replay.add(chunks)
            arrived += bool(chunks)
        start = last = time.perf_counter()  # time from arrival to arrival, since the machines' rounds are long
        while time.perf_counter() - start < seconds:
            version += 1
            pool.load_weights(network, {}, version)
            chunks = pool.collect(round_steps).chunks
            replay.add(chunks)
            taken += len(chunks)
            last = time.perf_counter() if chunks else last
        return taken / (last - start)
    finally:
        pool.close()


def scaling(workers: tuple[int, ...], seconds: float, chunk_seconds: float) -> dict[str, Any]:
    """Compare machines in slow motion with the model, and measure the most that one driver takes."""
    costs = Costs(80 * 64 / PacedActor.round_seconds, 80 * 64, chunk_seconds)
    points = []
    for count in workers:
        measured = served(PacedActor, count, seconds, envs=64) * 80 * 4
        predicted = predict(count, costs).frames_per_second
        points.append({"machines": count, "measured": measured, "predicted": predicted,
                       "error": predicted / measured - 1})  # fmt: skip
    flood = {count: served(SyntheticActor, count, seconds, envs=64) for count in (1, 2)}
    return {"points": points, "chunks_per_second": flood}


def real_rate(pool: Any, seconds: float, round_steps: int) -> float:
    """Measure steps per second."""
    steps, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        steps += pool.collect(round_steps).num_steps
    return steps / (time.perf_counter() - start)


def game_pools(envs: int, workers: int) -> tuple[LocalPool, RayPool]:
    """Make pools of the laptop's agent on Breakout: in this process, and with as many environments on Ray actors."""
    parameters = made(
        LAPTOP,
        env={"game": "Breakout", "num_envs": envs},
        actors={"pool": "ray"},
        ray={"workers": workers, "cpus_per_worker": 0.1},
    )
    env = env_spec(parameters.env)
    return LocalPool(parameters, env, agent_spec(parameters, env)), RayPool(parameters, env)


def beside_local(envs: int, seconds: float, repetitions: int) -> dict[str, Any]:
    """Measure the steps per second of the local pool and of one Ray actor, in turn."""
    local, remote = game_pools(envs, 1)
    rates: dict[str, list[float]] = {"local": [], "ray": []}
    try:
        while not remote.crew.playing():
            remote.collect(10)
        for _ in range(repetitions):
            for handle in [slot.worker for slot in remote.crew.slots]:  # finish all requests, so that Ray is idle
                while handle is not None and handle.questions:
                    remote.crew.poll(1.0, remote._take)
            remote._hand_over()
            rates["local"].append(real_rate(local, seconds, 10))
            rates["ray"].append(real_rate(remote, seconds, 10))
    finally:
        remote.close()
        local.close()
    ratios = [b / a for a, b in zip(rates["local"], rates["ray"], strict=True)]
    return {"environments": envs, **rates, "ratio": statistics.median(ratios)}


def alone(seconds: float) -> float:
    """Measure the steps per second of 32 environments in their own process, without Ray."""
    torch.set_num_threads(1)
    parameters = made(LAPTOP, env={"game": "Breakout", "num_envs": 32})
    env = env_spec(parameters.env)
    pool = LocalPool(parameters, env, agent_spec(parameters, env))
    real_rate(pool, 2.0, 10)
    return real_rate(pool, seconds, 10)


def real(seconds: float) -> list[dict[str, float]]:
    """Measure one and two actors on a real game; predict the second from the gain of two processes without Ray."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as processes:
        list(processes.map(alone, [0.1, 0.1]))
        one = processes.submit(alone, seconds).result()
        gain = sum(processes.map(alone, [seconds, seconds])) / one
    rates = {}
    for workers in (1, 2):
        local, remote = game_pools(32 * workers, workers)
        local.close()
        try:
            while len(remote.crew.playing()) < workers:
                remote.collect(10)
            real_rate(remote, 2.0, 10)
            rates[workers] = real_rate(remote, seconds, 10)
        finally:
            remote.close()
    return [
        {"actors": n, "measured": rates[n] * 4, "predicted": one * factor * 4, "error": one * factor / rates[n] - 1}
        for n, factor in ((1, 1.0), (2, gain))
    ]


def measure(steps: int, seconds: float, machines: tuple[int, ...], repetitions: int) -> Figures:
    """Measure all parts; a part that needs other cores starts its own cluster."""
    all_cores = os.sched_getaffinity(0)
    figures: Figures = {"wire": wire(steps), "weights_bytes": weights_bytes(), "taking_in": taking_in(40)}
    start = {"include_dashboard": False, "object_store_memory": 300 * 2**20, "log_to_driver": False}
    ray.init(address="local", num_cpus=4, logging_level="ERROR", **start)
    figures["scaling"] = scaling(machines, seconds, figures["taking_in"]["chunk_seconds"])
    figures["real"] = real(seconds)
    ray.shutdown()
    os.sched_setaffinity(0, {min(all_cores)})
    ray.init(address="local", num_cpus=1, logging_level="ERROR", **start)
    figures["beside_local"] = [beside_local(envs, seconds, repetitions) for envs in (32, 128)]
    ray.shutdown()
    os.sched_setaffinity(0, all_cores)
    return figures


def table(figures: Figures) -> str:
    """Format everything as Markdown."""
    lines = ["| preset | game | bytes/step, to the learner |", "|---|---|---|"]
    lines += [f"| {row['preset']} | {row['game']} | {row['bytes_per_step']:.0f} |" for row in figures["wire"]]
    taken = figures["taking_in"]
    lines += ["", f"weights, bytes: {figures['weights_bytes']}", "",
              f"one chunk: decode {taken['decode_seconds'] * 1e6:.0f} us, add {taken['add_seconds'] * 1e6:.0f} us, "
              f"{1 / taken['chunk_seconds']:,.0f} chunks/s", "",
              "| machines | frames/s measured | predicted | error |", "|---|---|---|---|"]  # fmt: skip
    for point in figures["scaling"]["points"]:
        lines.append(
            f"| {point['machines']} | {point['measured']:,.0f} | {point['predicted']:,.0f} | {point['error']:+.1%} |"
        )
    lines += ["", "| actors on Breakout | frames/s measured | predicted | error |", "|---|---|---|---|"]
    for point in figures["real"]:
        lines.append(
            f"| {point['actors']} | {point['measured']:,.0f} | {point['predicted']:,.0f} | {point['error']:+.1%} |"
        )
    flood = figures["scaling"]["chunks_per_second"]
    lines += ["", f"without a pause, chunks/s by actors: { {n: round(rate) for n, rate in flood.items()} }", ""]
    lines += [
        f"beside local, {row['environments']} environments on one core: {row['ratio']:.2f}"
        for row in figures["beside_local"]
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    command(__doc__, measure, table, steps=640, seconds=8.0, machines=(1, 2, 4, 8), repetitions=3)
