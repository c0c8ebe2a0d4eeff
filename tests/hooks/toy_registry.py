"""Small pipelines with the real names, so that the real hooks, settings and catalog can be run in a second."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kedro.pipeline import Node, Pipeline

from meme57.config import parse_parameters
from meme57.errors import ConfigurationError, EnvironmentSetupError, Interrupted, ReplayError
from meme57.stopping import stop_requested
from meme57.tracking.run_record import RunRecord, TrackingRun, new_record

behaviour = "finish"
"""What `learn` does after its first checkpoint; tests set it."""


def refuse() -> object:
    """What `setup` does with the behaviour `refuse`; tests replace it."""
    raise EnvironmentSetupError("this game is refused")


received: dict[str, Any] = {}
SPEC: dict[str, Any] = {
    "game": "Pong", "rom_id": "pong", "num_actions": 1, "action_meanings": ["NOOP"], "height": 84, "width": 84,
    "full_action_space": False, "sticky_action_probability": 0.0, "frame_skip": 4, "max_pool": True, "noop_max": 30,
    "max_episode_frames": 1000,
}  # fmt: skip


def _set_up(parameters: dict[str, Any], tracking_run: TrackingRun) -> tuple[dict[str, Any], RunRecord]:
    received["parameters"] = parameters
    if behaviour == "refuse":
        refuse()
    typed = parse_parameters(parameters)
    return {**SPEC, "game": typed.env.game}, new_record(typed, tracking_run)


def _learn(env_spec: dict[str, Any], folder: Path) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    checkpoint = folder / "frames-100"
    checkpoint.mkdir(exist_ok=True)
    for name in ("manifest.json", "agent.json", "network.safetensors", "novelty.safetensors"):
        (checkpoint / name).write_text("{}")
    record = {"name": checkpoint.name, "folder": str(checkpoint), "frames": 100, "updates": 1, "score": 1.0}
    yield record, [{"frames": 100, "loss": 0.5}]
    if behaviour == "fault":
        raise ZeroDivisionError("a fault of ours")
    if behaviour == "refuse late":
        raise ConfigurationError("this student is refused")
    if behaviour == "error":
        raise ReplayError("the replay is broken")
    if behaviour == "signal":
        os.kill(os.getpid(), signal.SIGTERM)
        if stop_requested():
            raise Interrupted("stopped after frames-100: the same command goes on")
    if behaviour == "deaf":
        os.kill(os.getpid(), signal.SIGINT)


def _evaluate(checkpoints: dict[str, Any]) -> dict[str, Any]:
    return {"best": checkpoints["best"]["name"]}


def register_pipelines() -> dict[str, Pipeline]:
    set_up = Node(_set_up, ["parameters", "tracking_run"], ["env_spec", "run_record"], name="set_up")
    learn = Node(_learn, ["env_spec", "checkpoint_folder"], ["checkpoints", "learning_curve"], name="learn_it")
    evaluate = Node(_evaluate, "checkpoints", "scores", name="evaluate_it")
    tune = Node(lambda parameters: {"best": 1}, "parameters", "best_parameters", name="tune_it")
    return {
        "setup": Pipeline([set_up]),
        "learn": Pipeline([learn]),
        "evaluate": Pipeline([evaluate]),
        "tune": Pipeline([tune]),
        "__default__": Pipeline([set_up, learn, evaluate]),
    }
