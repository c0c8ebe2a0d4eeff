"""The learner, the actors, evaluation and distillation on a CUDA device that is not there; prints what it saw as JSON.

Each entry is {"error": text or null, ...counts of `device.Usage`}.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from device import CudnnLstm, FakeTensorMode, Usage

import numpy as np
import torch
from conftest import build_batch, build_parameters
from meme57.actors.actor import Actor, Collected
from meme57.blueprint import agent_spec, make_networks, make_replay
from meme57.config import Parameters
from meme57.envs import env_spec
from meme57.envs.spec import StepResult
from meme57.learning import distillation
from meme57.learning.learner import Learner, copy_state
from meme57.learning.policies import Teacher

CASES: dict[str, dict[str, Any]] = {
    "default": {},
    "bfloat16": {"learner": {"precision": "bfloat16"}},
    "no distilled policy": {"loss": {"distil_policy": False}},
    "retrace": {"loss": {"target": "retrace", "bootstrap": "target", "trust_region": False, "normalise_td": False}},
    "q lambda": {"loss": {"target": "q_lambda", "kappa": float("inf"), "cross_mixture": False}},
    "no novelty": {"novelty": {"enabled": False}},
    "model and moved pictures": {"network": {"dynamics_size": 8}, "learner": {"shift_pixels": 2}},
    "nfnet": {"network": {"torso": "nfnet", "nfnet_widths": [8, 8, 8, 8], "nfnet_group_width": 4}},
    "impala": {"network": {"torso": "impala", "impala_channels": [4, 8]}},
}
FULL_ENVS = 32

Found = dict[str, Any]


def attempt(work: Callable[[], object], *, chosen: int = 2) -> Found:
    usage = Usage(chosen=chosen)
    error = None
    try:
        with usage:
            work()
    except Exception as failure:
        error = f"{type(failure).__name__}: {failure}"[:300]
    return {"error": error, **usage.numbers()}


class StillEnv:
    """Frames that do not change; two episodes end in the third step, and again in the ninth."""

    def __init__(self, num_envs: int, height: int, width: int) -> None:
        self.num_envs, self._frames, self._steps = num_envs, np.zeros((num_envs, height, width), np.uint8), 0

    def reset(self, *, seed: int) -> Any:
        return self._frames

    def send(self, actions: Any) -> None:
        self._steps += 1

    def receive(self) -> StepResult:
        ended, is_reset, no = (np.zeros(self.num_envs, np.bool_) for _ in range(3))
        ended[:2] = self._steps in (3, 9)
        is_reset[:2] = self._steps in (4, 10)
        return StepResult(self._frames, np.zeros(self.num_envs, np.float32), ended, no, is_reset, no)

    def step(self, actions: Any) -> StepResult:
        self.send(actions)
        return self.receive()

    def close(self) -> None:
        pass


def play(teacher: Teacher, num_envs: int = 2) -> None:
    height, width = teacher.env.frame_shape
    player, env = teacher.player(num_envs), StillEnv(num_envs, height, width)
    player.begin(env.reset(seed=0))
    for _ in range(5):
        actions = player.act()
        player.observe(actions, env.step(actions))


def learning(parameters: Parameters) -> dict[str, Found]:
    env = env_spec(parameters.env)
    spec = agent_spec(parameters, env)
    learner, other, on_cpu = (Learner(parameters, spec, device=device) for device in ("cuda", "cuda", "cpu"))
    batch = build_batch(lengths=[6, 3, 6, 1], terminal=[False, True, False, True])
    frames = torch.empty(20, *env.frame_shape, dtype=torch.uint8)
    files: dict[str, Any] = {}
    return {
        "centre the frames": attempt(lambda: learner.fit_frames(frames)),
        "first update": attempt(lambda: learner.update(batch)),
        "update": attempt(lambda: learner.update(batch)),
        "weights for actors": attempt(learner.weights),
        "checkpoint": attempt(lambda: files.update(learner.tensors())),
        "resume": attempt(lambda: other.load_tensors(files)),
        "update after it": attempt(lambda: other.update(batch)),
        "resume on a CPU": attempt(lambda: on_cpu.load_tensors(files)),
        "evaluate at a checkpoint": attempt(lambda: play(Teacher(env, learner.network, learner.novelty))),
        "evaluate": attempt(lambda: play(Teacher(env, other.network, other.novelty).to(torch.device("cuda")))),
        "distil": attempt(lambda: distil(parameters, Teacher(env, learner.network, learner.novelty))),
    }


def distil(parameters: Parameters, teacher: Teacher) -> None:
    distillation.make_env = lambda spec, num_envs: StillEnv(num_envs, *spec.frame_shape)  # type: ignore[assignment]
    student = distillation._make_student(parameters, teacher).to("cuda")
    optimiser = torch.optim.Adam(student.parameters())
    own = distillation.OwnPlay(teacher, student, num_envs=2, seed=1, rng=np.random.default_rng(0))
    replay = _Drawn(build_batch(lengths=[6, 6], terminal=[False, True]))
    for segment in (own.play(4, exploration=0.1), distillation.replayed_segment(teacher, student, replay, 2, None)):  # type: ignore[arg-type]
        if {part.device.type for part in segment} != {"cuda"}:
            raise RuntimeError(f"a segment lies on {[str(part.device) for part in segment]}")
        distillation._update(student, optimiser, segment, temperature=0.1)
    own.fidelity(4, temperature=0.1)


class _Drawn:
    def __init__(self, batch: Any) -> None:
        self._batch = batch

    def sample(self, batch_size: int, rng: Any) -> Any:
        return self._batch


def acting(parameters: Parameters, num_envs: int) -> dict[str, Found]:
    from meme57.actors import actor as module

    env = env_spec(parameters.env)
    module.make_env = lambda env, num_envs, num_threads: StillEnv(num_envs, *env.frame_shape)  # type: ignore[assignment]
    spec = agent_spec(parameters, env)
    actors: list[Actor] = []
    collected = Collected()

    def begin() -> None:
        actors.append(Actor(parameters, env, spec, np.full(num_envs, 0.1), device="cuda"))

    def step() -> None:
        with torch.inference_mode():
            actors[0].send()
            actors[0].receive(collected)

    found = {"begin to act": attempt(begin, chosen=num_envs)}
    for number in range(1, 7):
        found[f"acting step {number}"] = attempt(step, chosen=num_envs if number == 1 else 2)
    weights = tuple(copy_state(network) for network in make_networks(spec, seed=2))
    found["load weights"] = attempt(lambda: actors[0].load_weights(*weights, 3))
    for number in range(7, 13):  # from the tenth on, two embedding networks are in use
        found[f"acting step {number}"] = attempt(step)
    return found


def full_size() -> dict[str, Found]:
    """One update and the acting steps of `conf/gpu`."""
    from presets import preset

    parameters = preset("gpu")
    env = env_spec(parameters.env)
    learner = Learner(parameters, agent_spec(parameters, env), device="cuda")
    batch = make_replay(parameters, env).new_batch(parameters.learner.batch_size)
    return {
        "first update": attempt(lambda: learner.update(batch)),
        "update": attempt(lambda: learner.update(batch)),
        **acting(parameters, FULL_ENVS),
    }


def main() -> None:
    found: dict[str, Any] = {}
    with FakeTensorMode(allow_non_fake_inputs=True):
        for name, groups in CASES.items():
            CudnnLstm.seen.clear()
            parameters = build_parameters(**groups)
            found[name] = {**learning(parameters), **acting(parameters, 4)}
            found[name]["LSTM runs in"] = sorted(map(str, CudnnLstm.seen))
        CudnnLstm.seen.clear()
        found["conf/gpu"] = {**full_size(), "LSTM runs in": sorted(map(str, CudnnLstm.seen))}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
