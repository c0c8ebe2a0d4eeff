"""Nodes of `setup`."""

from __future__ import annotations

import logging
import os
import platform
import shutil
from pathlib import Path
from typing import Any

from meme57.config import parse_parameters
from meme57.errors import ResourceError, VideoError
from meme57.tracking.run_record import RunRecord, TrackingRun, new_record, run_folders

log = logging.getLogger(__name__)


def make_env_spec(parameters: dict[str, Any], initial_policy: dict[str, Any]) -> dict[str, Any]:
    """Describe the game with its whole protocol; this loads the ROM once.

    `initial_policy` only shows that the run fits this machine and has its first weights, so that nothing else is
    written before that is known.
    """
    from meme57.envs import env_spec

    return env_spec(parse_parameters(parameters).env).to_json()


def fetch_initial_policy(
    parameters: dict[str, Any], place: dict[str, str], initial_policy_folder: Path, estimate: dict[str, Any]
) -> dict[str, Any]:
    """Copy the weights that `run.init_from` names into the run's folder; return where they come from, {} without it.

    `estimate` only shows that the run fits this machine.
    """
    settings = parse_parameters(parameters)
    if settings.run.init_from is None:
        return {}
    from meme57.api.find import find_folder
    from meme57.learning.warm_start import keep_initial_policy

    named, project = settings.run.init_from, Path(place["project"])
    return keep_initial_policy(
        lambda: find_folder(named, "teacher", project=project), initial_policy_folder, named=named
    )


def make_policy_family(parameters: dict[str, Any]) -> dict[str, list[float]]:
    """Return the discount and the intrinsic weight of every policy."""
    from meme57.blueprint import policy_family

    family = policy_family(parse_parameters(parameters))
    return {"gammas": family.gammas.tolist(), "betas": family.betas.tolist()}


def describe_hardware(place: dict[str, str]) -> dict[str, Any]:
    """Describe the machine; warn now about missing optional parts, one line each."""
    import torch

    for missing in missing_niceties():
        log.warning("%s", missing)
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "cores": os.cpu_count(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "free_disk_gib": round(shutil.disk_usage(place["project"]).free / 2**30, 1),
    }


def missing_niceties() -> list[str]:
    """List the optional parts that this machine lacks."""
    from meme57.evaluation.video import find_ffmpeg
    from meme57.export.onnx import missing_packages

    missing = []
    if (packages := missing_packages()) is not None:
        missing.append(f"the student will have no ONNX file: {packages}")
    try:
        find_ffmpeg()
    except VideoError as error:
        missing.append(f"there will be no film: {error}")
    return missing


def estimate_resources(parameters: dict[str, Any], place: dict[str, str]) -> dict[str, dict[str, int]]:
    """Estimate the memory and disk that the run will need, in bytes by part, beside what is free.

    Raises:
        ResourceError: the run does not fit, and `run.check_resources` is set.
    """
    from dataclasses import asdict

    from meme57.blueprint import find_device
    from meme57.checkpoints.store import newest_frames
    from meme57.envs import env_spec
    from meme57.learning import estimate
    from meme57.learning.device import too_long_on_cpu
    from meme57.learning.machine import free_resources
    from meme57.tracking.overview import run_folder

    settings, project = parse_parameters(parameters), Path(place["project"])
    on_device = find_device().type != "cpu"
    spec = env_spec(settings.env)
    done = newest_frames(run_folder(project, "models", settings.run_name) / "checkpoints")
    needed = estimate.estimate_resources(settings, spec, on_device=on_device, done_frames=done)
    free = free_resources(project / "data", run_folders(project, settings.run_name))
    log.info("run %s %s", settings.run_name, estimate.describe(needed))
    if not on_device and (too_long := too_long_on_cpu(settings, spec)):
        log.warning("%s", too_long)
    problem = estimate.shortfall(needed, free, run_name=settings.run_name)
    if problem is not None and settings.run.check_resources:
        raise ResourceError(problem)
    if problem is not None:
        log.warning("%s", problem)
    return {**needed.to_json(), "free": asdict(free)}


def make_run_record(
    parameters: dict[str, Any], tracking_run: TrackingRun, place: dict[str, Any], initial_policy: dict[str, Any]
) -> RunRecord:
    """Make the record that ties all pipelines of this run together."""
    return new_record(parse_parameters(parameters), tracking_run, initial_policy, preset=place["environment"])
