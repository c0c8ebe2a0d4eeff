"""Nodes of `setup`."""

from __future__ import annotations

import os
import platform
import shutil
from typing import Any

from meme57.config import parse_parameters
from meme57.tracking.run_record import RunRecord, TrackingRun, new_record


def make_env_spec(parameters: dict[str, Any]) -> dict[str, Any]:
    """The game with its whole protocol; its ROM is loaded once."""
    from meme57.envs import env_spec

    return env_spec(parse_parameters(parameters).env).to_json()


def make_policy_family(parameters: dict[str, Any]) -> dict[str, list[float]]:
    """Discount and intrinsic weight of every policy."""
    from meme57.actors.build import policy_family

    family = policy_family(parse_parameters(parameters))
    return {"gammas": family.gammas.tolist(), "betas": family.betas.tolist()}


def describe_hardware(parameters: dict[str, Any]) -> dict[str, Any]:
    """What the run has to work with."""
    import torch

    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "cores": os.cpu_count(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "free_disk_gib": round(shutil.disk_usage(".").free / 2**30, 1),
    }


def make_run_record(parameters: dict[str, Any], tracking_run: TrackingRun) -> RunRecord:
    """Ties every pipeline of this run name together."""
    return new_record(parse_parameters(parameters), tracking_run)
