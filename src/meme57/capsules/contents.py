"""What a capsule holds, and where each file of it belongs in a project. No path comes from a capsule."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

from meme57.config.fields import RunName
from meme57.errors import CapsuleError
from meme57.learning.student_record import FILES as STUDENT_FILES
from meme57.learning.student_record import RECORD
from meme57.tracking.overview import run_folder

FORMAT = 1
MANIFEST = "capsule.json"
RUN_RECORD = "setup/run_record.json"
CURVE = "reporting/learning_curve.csv"
SCORES = "reporting/scores.json"
CARD = "about/README.md"
PARAMETERS = "about/parameters.yml"
LOCK = "about/requirements.lock"
REQUIRED = (RUN_RECORD, CURVE, SCORES, CARD, PARAMETERS, "checkpoint/manifest.json")

FOLDERS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "setup": ("intermediate", "", ("run_record.json", "env_spec.json", "policy_family.json", "hardware.json")),
    "student": ("models", "student", (*STUDENT_FILES, RECORD)),
    "output": ("output", "", ("episodes.csv",)),
    "reporting": ("reporting", "", ("learning_curve.csv", "scores.json", "fidelity.json")),
    "about": ("reporting", "capsule", ("README.md", "parameters.yml", "requirements.lock")),
}
"""Folder of a capsule -> the layer that it belongs to, the folder below the run's, its files."""
CHECKPOINT_FILE = re.compile(r"checkpoint/([a-z_]+\.(?:json|safetensors))")


class Entry(BaseModel):
    """One file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0)]


class Manifest(BaseModel):
    """What `capsule.json` says, types checked."""

    model_config = ConfigDict(extra="forbid", strict=True)

    format: int
    meme57: str
    """The version that wrote it."""
    run: RunName
    game: str
    commit: Annotated[str, Field(pattern=r"^[\w.+-]{0,80}$")]
    checkpoint: Annotated[str, Field(pattern=r"^checkpoint-\d{6,12}$")]
    command: str
    """What trains the run again."""
    files: dict[str, Entry]


def place(project: Path, run: str, checkpoint: str, name: str) -> Path:
    """Return where the file `name` of a capsule belongs in a project.

    Raises:
        CapsuleError: no capsule holds such a file.
    """
    if found := CHECKPOINT_FILE.fullmatch(name):
        return run_folder(project, "models", run) / "checkpoints" / checkpoint / found[1]
    folder, _, file = name.partition("/")
    layer, below, files = FOLDERS.get(folder, ("", "", ()))
    if file not in files:
        raise CapsuleError(f"it holds {name!r}, which is no file of a capsule")
    return run_folder(project, layer, run) / below / file


def environment_name(run: str) -> str:
    """Return the name of the environment that reproduces a run."""
    return f"capsule-{run}"


def command(run: str) -> str:
    """Return what trains a capsule's run again, where the capsule was imported."""
    return f"kedro run --env {environment_name(run)} --params run.name={run}-again"


def environment(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that a run record tells, as an environment of its own.

    Raises:
        CapsuleError: it is of a release that did not write them down.
    """
    if missing := {"configuration", "total_frames"} - set(record):
        raise CapsuleError(
            f"the run record lacks {', '.join(sorted(missing))}: `kedro run --pipelines setup` (same options) adds it"
        )
    groups = dict(record["configuration"])
    named = ("seed", "exact_resume", "checkpoint_period_frames")
    run = {name: groups.pop(name) for name in named if name in groups}
    return {"extends": "base", "run": {**run, "total_frames": record["total_frames"]}, **groups}


def as_yaml(parameters: Mapping[str, Any]) -> str:
    """Return the parameters as `parameters.yml`.

    Raises:
        CapsuleError: a value would be read as a command to the configuration.
    """
    text = str(yaml.safe_dump(dict(parameters), sort_keys=False))
    if "${" in text:
        raise CapsuleError("a parameter holds `${`, which a configuration would evaluate")
    return text
