"""The sections of gpu_check.py. Each yields its figures as they come; a figure's name ends with its unit."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import nn

from bench_learner import full_batch
from meme57.actors import actor as actor_module
from meme57.blueprint import agent_spec, find_device, make_replay
from meme57.config import Parameters, parse_parameters
from meme57.envs import EnvSpec, StepResult, env_spec, make_env
from meme57.errors import Interrupted
from meme57.evaluation.protocol import mean_return
from meme57.learning.collector import own_stream
from meme57.learning.learner import Learner
from meme57.learning.policies import Teacher
from meme57.learning.tensors import pin
from meme57.learning.trainer import Trainer
from meme57.replay.chunks import SequenceBatch
from meme57.seeds import EVALUATION_SEED
from synthetic_actors import CHUNKS_AN_EPISODE, template

ROOT = Path(__file__).parents[1]
GIB = 2**30
MODE_SECONDS, PONG_SECONDS, GREEDY_SECONDS = 12.0, 140.0, 30.0
ENDLESS = {"total_frames": 10**9, "checkpoint_period_frames": 10**9}
Groups = dict[str, dict[str, Any]]
Figures = Iterator[dict[str, Any]]

TINY: Groups = {
    "run": {"log_period_frames": 160},
    "env": {"height": 20, "width": 20, "num_envs": 4, "num_threads": 1},
    "family": {"num_policies": 2},
    "network": {"nfnet_widths": [4] * 4, "nfnet_blocks": 1, "nfnet_group_width": 4, "lstm_size": 8, "head_size": 8},
    "novelty": {"channels": [2, 2], "rnd_size": 4, "hidden_size": 4},
    "replay": {"period": 10, "capacity_sequences": 500, "min_sequences": 12},
    "actors": {"weights_period_steps": 10},
    "learner": {"batch_size": 4},
}


def gpu_parameters(dry: bool = False, **groups: dict[str, Any]) -> Parameters:
    """Return the parameters of conf/gpu, read without Kedro, with values of some groups replaced; dry, then tiny."""
    tree = yaml.safe_load((ROOT / "conf/gpu/parameters.yml").read_text())
    del tree["extends"]  # base, which is the defaults
    for changes in (groups, TINY if dry else {}):
        tree = {name: {**tree.get(name, {}), **changes.get(name, {})} for name in {**tree, **changes}}
    return parse_parameters(tree)


def seconds(work: Callable[[], object]) -> float:
    """Time one call, until the device is done."""
    _wait()
    start = time.perf_counter()
    work()
    _wait()
    return time.perf_counter() - start


def median_ms(work: Callable[[], object], *, dry: bool) -> float:
    """Return the median milliseconds of seven calls, after three unmeasured ones."""
    times = [seconds(work) for _ in range(2 if dry else 10)]
    return 1e3 * float(np.median(times[1 if dry else 3 :]))


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _peak_gib() -> float:
    return torch.cuda.max_memory_allocated() / GIB if torch.cuda.is_available() else 0.0


def facts(out: Path, dry: bool) -> Figures:
    """Name the machine; measure the LSTM by precision, and the machine's own limits."""
    on_gpu, device, ms = torch.cuda.is_available(), find_device(), partial(median_ms, dry=dry)
    yield {
        "torch": torch.__version__,
        "python": sys.version.split()[0],
        "cores": len(os.sched_getaffinity(0)),
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "free_memory_gib": torch.cuda.mem_get_info()[0] / GIB if on_gpu else 0.0,
        "tf32_in_cudnn": torch.backends.cudnn.allow_tf32,
        "tf32_in_products": torch.backends.cuda.matmul.allow_tf32,
    }
    yield from _lstm(device, dry)
    size = 64 if dry else 8192
    matrix = torch.randn(size, size, device=device, dtype=torch.bfloat16)
    yield {"product_bfloat16_tflop_per_second": 2e-9 * size**3 / ms(lambda: matrix @ matrix)}
    source = torch.empty(1024 if dry else GIB, dtype=torch.uint8, device=device)
    yield {"copy_tb_per_second": 2e-9 * source.numel() / ms(source.clone)}
    frames = torch.empty(1024 if dry else 64 * 161 * 84 * 84, dtype=torch.uint8)
    pinned = frames.pin_memory() if on_gpu else frames
    yield {"frames_upload_ms": ms(lambda: frames.to(device, copy=True))}
    yield {"pinned_frames_upload_ms": ms(lambda: pinned.to(device, non_blocking=True, copy=True))}
    small = torch.zeros(4, device=device)
    yield {"launch_us": ms(lambda: [small.mul_(1.0) for _ in range(1000)]), "wait_us": 1e3 * ms(small.cpu)}


def _lstm(device: torch.device, dry: bool) -> Figures:
    """Both passes of conf/gpu's LSTM over a batch: float32 as in training, without TF32, and under autocast."""
    steps, batch, inputs, units = (5, 2, 8, 8) if dry else (161, 64, 832, 512)
    lstm, x = nn.LSTM(inputs, units).to(device), torch.randn(steps, batch, inputs, device=device, requires_grad=True)
    contexts: dict[str, AbstractContextManager[Any]] = {
        "float32": nullcontext(),
        "float32_without_tf32": torch.backends.cudnn.flags(enabled=True, allow_tf32=False),
        "autocast": torch.autocast(device.type, torch.bfloat16),
    }
    for name, context in contexts.items():
        with context:
            both_ms = median_ms(lambda: lstm(x)[0].float().sum().backward(), dry=dry)
            yield {f"lstm_{name}_both_passes_ms": both_ms, f"lstm_{name}_type": str(lstm(x)[0].dtype)}


class Outcomes:
    """A pytest plugin that keeps each test's outcome."""

    def __init__(self) -> None:
        self.outcomes: dict[str, str] = {}

    def pytest_collection_finish(self, session: Any) -> None:
        """Begin with all tests that were found."""
        self.outcomes = {item.nodeid: "not run" for item in session.items}

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keep the outcome of the test, or of a fixture that failed."""
        if report.when == "call" or report.outcome != "passed":
            self.outcomes[report.nodeid] = report.outcome


def tests(out: Path, dry: bool) -> Figures:
    """Run the tests marked cuda; dry, only find them. tests/conftest.py is not read: it needs Kedro and MLflow."""
    import pytest

    os.chdir(ROOT)
    options = ["-q", "-p", "no:cacheprovider", "--confcutdir=tests/learning", *(["--collect-only"] if dry else [])]
    found = Outcomes()
    code = int(pytest.main([*options, "tests/learning/test_cuda.py"], plugins=[found]))
    yield {"tests": len(found.outcomes), "outcomes": found.outcomes}
    if code:
        raise SystemExit("tests marked cuda failed: see log.txt")


def make_learner(dry: bool, **groups: dict[str, Any]) -> tuple[Learner, SequenceBatch]:
    """Make the learner of conf/gpu, and a full batch of random numbers."""
    parameters = gpu_parameters(dry, **groups)
    batch = full_batch(parameters)
    learner = Learner(parameters, agent_spec(parameters, env_spec(parameters.env)), device=find_device())
    return learner, pin(batch) if torch.cuda.is_available() else batch


def updates_per_second(learner: Learner, batch: SequenceBatch, count: int) -> float:
    """Measure updates as the overlapped mode makes them: it sends one before it waits for the one before."""

    def updates() -> None:
        pending = learner.start(learner.prepare(batch))
        for _ in range(count - 1):
            following = learner.start(learner.prepare(batch))
            learner.finish(pending)
            pending = following
        learner.finish(pending)

    learner.update(batch)  # makes the optimiser's state
    return count / seconds(updates)


def learner(out: Path, dry: bool) -> Figures:
    """Measure updates on a full batch, their parts, and what other settings would cost."""
    subject, batch = make_learner(dry)
    rate, ms = updates_per_second(subject, batch, 2 if dry else 15), partial(median_ms, dry=dry)
    yield {"updates_per_second": rate, "learned_steps_per_second": rate * batch.mask.size, "peak_gib": _peak_gib()}
    start = time.perf_counter()
    pending = subject.start(subject.prepare(batch))
    yield {"hand_over_ms": 1e3 * (time.perf_counter() - start)}  # near the update's: launches are the limit
    subject.finish(pending)
    yield {"update_ms": ms(lambda: subject.update(batch)), "prepare_ms": ms(lambda: subject.prepare(batch))}
    yield {"weights_for_actors_ms": ms(subject.weights)}
    variants: dict[str, Groups] = {
        "float32": {"learner": {"precision": "float32"}},
        "one_policy": {"family": {"num_policies": 1}},
        "impala_torso": {"network": {"torso": "impala"}},
        "cudnn_benchmark": {},
    }
    for name, groups in variants.items():
        del subject, batch
        torch.backends.cudnn.benchmark = name == "cudnn_benchmark"
        subject, batch = make_learner(dry, **groups)
        yield {f"{name}_updates_per_second": updates_per_second(subject, batch, 2 if dry else 8)}


def profile(out: Path, dry: bool) -> Figures:
    """Profile one update: launches, milliseconds, kernels by time."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    subject, batch = make_learner(dry)
    subject.update(batch)  # with a health check
    subject.update(batch)
    on_gpu = torch.cuda.is_available()
    with profiler(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]) as seen:
        seconds(lambda: subject.update(batch))
    events = seen.key_averages()
    order = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    (out / "kernels.txt").write_text(events.table(sort_by=order, row_limit=60, max_name_column_width=90))
    yield {
        "launches_an_update": sum(event.count for event in events if "LaunchKernel" in event.key),
        "device_ms_an_update": sum(event.self_device_time_total for event in events if is_kernel(event)) / 1e3,
        "host_ms_an_update": sum(event.self_cpu_time_total for event in events) / 1e3,
    }
    seen.export_chrome_trace(str(out / "trace.json.gz"))


def is_kernel(event: Any) -> bool:
    """Say whether a row is the device's own: an operation on the host has the time of its kernels again."""
    return event.device_type.name == "CUDA" and not event.is_user_annotation


class StillEnv:
    """Environments that cost nothing: what acting alone takes."""

    def __init__(self, spec: EnvSpec, num_envs: int, **_: Any) -> None:
        no = np.zeros(num_envs, np.bool_)
        frames = np.random.default_rng(0).integers(0, 256, (num_envs, *spec.frame_shape), dtype=np.uint8)
        self._result = StepResult(frames, np.zeros(num_envs, np.float32), no, no, no, no)

    def reset(self, *, seed: int) -> np.ndarray:
        """Return the only frames there are."""
        return self._result.observation

    def send(self, actions: np.ndarray) -> None:
        """Do nothing."""

    def receive(self) -> StepResult:
        """Return the only result there is."""
        return self._result


def acting(out: Path, dry: bool) -> Figures:
    """Measure a step of one group of environments, without emulators, by its size; then the emulators alone."""
    parameters, steps, rng = gpu_parameters(dry), 5 if dry else 100, np.random.default_rng(0)
    env, num_envs = env_spec(parameters.env), parameters.env.num_envs
    actor_module.make_env = StillEnv  # type: ignore
    for size in (4,) if dry else (32, 64, 128):
        with own_stream():  # as in training
            epsilons = np.full(size, 0.1)
            actor = actor_module.Actor(parameters, env, agent_spec(parameters, env), epsilons, device=find_device())
            actor.collect(steps)
            cpu = time.thread_time()
            elapsed = seconds(lambda actor=actor: actor.collect(steps))  # type: ignore
            cpu = time.thread_time() - cpu
        yield {f"step_of_{size}_ms": 1e3 * elapsed / steps, f"step_of_{size}_cpu_ms": 1e3 * cpu / steps}
        yield {f"steps_of_{size}_per_second": size * steps / elapsed}
    with closing(make_env(env, num_envs=num_envs, num_threads=parameters.env.num_threads)) as emulators:
        emulators.reset(seed=1)
        elapsed = seconds(lambda: [emulators.step(rng.integers(env.num_actions, size=num_envs)) for _ in range(steps)])
    yield {"emulator_steps_per_second": num_envs * steps / elapsed}


def rows_for(limit: float, trainer: Trainer) -> Iterator[dict[str, float]]:
    """Yield the rows of metrics with updates, until `limit` seconds after the first one."""
    with closing(trainer.run()) as events:  # type: ignore[type-var]
        rows = (row for event in events for row in event.rows if row["updates"] > 0)
        first = next(rows)
        end = time.monotonic() + limit
        yield first
        for row in rows:
            yield row
            if time.monotonic() > end:
                return


def end_to_end(mode: str, out: Path, dry: bool) -> Figures:
    """Measure the speed of a mode of learning, from the first update on."""
    run, replay = {**ENDLESS, "log_period_frames": 12_800}, {"min_sequences": 64}
    actors = {"weights_period_steps": 50}  # a row each round
    parameters = gpu_parameters(dry, run=run, replay=replay, actors=actors, learner={"mode": mode})
    with tempfile.TemporaryDirectory() as folder:
        rows = rows_for(0 if dry else MODE_SECONDS, Trainer(parameters, env_spec(parameters.env), Path(folder)))
        first = next(rows)
        for row in rows:
            elapsed = row["elapsed_seconds"] - first["elapsed_seconds"]
            speeds = {f"{name}_per_second": (row[name] - first[name]) / elapsed for name in ("frames", "updates")}
            yield {**speeds, "samples_per_insert": row["replay/samples_per_insert"], "peak_gib": _peak_gib()}


def replay(out: Path, dry: bool) -> Figures:
    """Measure drawing a batch, decoding included, on one thread."""
    parameters, rng = gpu_parameters(dry), np.random.default_rng(0)
    env, size = env_spec(parameters.env), parameters.learner.batch_size
    memory, chunk, n = make_replay(parameters, env), template(parameters, env), CHUNKS_AN_EPISODE
    memory.add([replace(chunk, episode=k // n, index=k % n, is_last=k % n == n - 1) for k in range(20 * n)])
    batch = memory.new_batch(size)
    yield {"draw_ms": median_ms(lambda: memory.sample(size, rng, out=batch), dry=dry), "sequences": len(memory)}


def pong(out: Path, dry: bool) -> Figures:
    """Learn Pong with the full agent, then play greedy episodes; all rows of metrics go to pong.jsonl."""
    parameters = gpu_parameters(
        dry, run={**ENDLESS, "log_period_frames": 51_200}, env={"game": "Pong", "full_action_space": False},
        replay={"min_sequences": 300}, learner={"target_period_updates": 300},
    )  # fmt: skip
    env = env_spec(parameters.env)
    with tempfile.TemporaryDirectory() as folder, (out / "pong.jsonl").open("w", buffering=1) as lines:
        trainer = Trainer(parameters, env, Path(folder))
        for row in rows_for(0 if dry else PONG_SECONDS, trainer):
            lines.write(json.dumps(row) + "\n")
            yield {name: row.get(name) for name in ("frames", "updates", "elapsed_seconds", "episodes/return")}
    agent = trainer.state.learner
    yield {"skipped_updates": agent.num_skipped, "peak_gib": _peak_gib(), "greedy_return": None}
    player, end = Teacher(env, agent.network, agent.novelty).player, time.monotonic() + (1 if dry else GREEDY_SECONDS)
    num = 2 if dry else 16
    with suppress(Interrupted):  # a rally may outlast the time
        score = mean_return(
            player, env, episodes=num, num_envs=num, seed=EVALUATION_SEED, stop=lambda: time.monotonic() > end
        )
        yield {"greedy_return": score}


SECTIONS: dict[str, Callable[[Path, bool], Figures]] = {
    "facts": facts, "tests": tests, "learner": learner, "profile": profile, "acting": acting,
    "overlapped": partial(end_to_end, "overlapped"), "synchronous": partial(end_to_end, "synchronous"),
    "replay": replay, "pong": pong,
}  # fmt: skip
