"""From a run to its capsule: the same run gives the same file, byte by byte."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from meme57 import __version__
from meme57.capsules.contents import (
    CARD,
    FOLDERS,
    FORMAT,
    LOCK,
    MANIFEST,
    PARAMETERS,
    REQUIRED,
    as_yaml,
    command,
    environment,
    environment_name,
    place,
)
from meme57.capsules.read import open_capsule, refuse_code
from meme57.checkpoints.manifest import MANIFEST as CHECKPOINT_MANIFEST
from meme57.checkpoints.manifest import read_manifest
from meme57.errors import CapsuleError
from meme57.files import reading_errors, tree_digest, write_atomically
from meme57.tracking.overview import overview
from meme57.tracking.run_record import RunRecord, read_record, refuse_second_writer

CARD_TEXT = """\
# {run}

{game}, seed {seed}, {frames:,} frames. Weights: {checkpoint}.

| agent | mean return | 95 % interval | episodes |
|---|---:|---:|---:|
{scores}

Protocol: `{protocol}`. Commit: `{commit}`{dirty}. Fingerprint: `{fingerprint}`.

## Look at it

In a checkout of meme57, or in a folder that `meme57 init` made:

```bash
meme57 import {run}.zip
meme57 play {run}
meme57 play {run} --agent student
meme57 runs compare {run} OTHER
```

## Reproduce it

```bash
{same_code}
meme57 import {run}.zip
{command}
```

The environment `{environment}` has all that shapes learning, as the run had it, over `base`. Distillation and
evaluation follow `base`. The replay is not in the capsule, so the imported run plays and compares but does not resume.
"""

CHECKOUT = """\
git checkout {commit}
make setup        # installs requirements.lock; the one of this capsule is beside this card"""
INSTALLED = "pip install meme57=={version}    # or its wheel; requirements.lock beside this card has the other versions"


def write_capsule(project: Path, run: str, checkpoint: Path, path: Path) -> dict[str, Any]:
    """Write the capsule of a run, and read it back as `meme57 import` would.

    Args:
        checkpoint: the folder whose weights go in.

    Returns:
        Its manifest.

    Raises:
        RunConflictError: a process trains the run.
        CapsuleError: something is missing, or files do not belong together.
    """
    refuse_second_writer(project, run)
    record = read_record(project, run)
    if record is None:
        raise CapsuleError(f"run {run!r} has no run record: `kedro run --pipelines setup` writes it")
    parameters = environment(record)
    try:
        refuse_code(parameters)
    except CapsuleError as error:
        raise CapsuleError(f"run {run!r} cannot become a capsule: {error}") from error
    files = _collect(project, run, checkpoint)
    files[PARAMETERS] = as_yaml(parameters).encode()
    files[CARD] = _card(project, record, checkpoint.name).encode()
    if absent := [name for name in REQUIRED if name not in files]:
        raise CapsuleError(f"run {run!r} has no {absent[0].partition('/')[2]} yet: `kedro run` makes it (same options)")
    tree = {
        "format": FORMAT,
        "meme57": __version__,
        "run": run,
        "game": record["game"],
        "commit": record["commit"],
        "checkpoint": checkpoint.name,
        "command": command(run),
        "files": {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            for name, content in sorted(files.items())
        },
    }
    manifest = (json.dumps({**tree, "sha256": tree_digest(tree)}, indent=1) + "\n").encode()

    def write(temporary: Path) -> None:
        _write_zip(temporary, {MANIFEST: manifest, **dict(sorted(files.items()))})
        with open_capsule(temporary):
            pass

    write_atomically(path, write)
    return tree


def _collect(project: Path, run: str, checkpoint: Path) -> dict[str, bytes]:
    """Read every file of the run that is there: name in the capsule -> content."""
    names = [f"{folder}/{file}" for folder, (_, _, files) in FOLDERS.items() if folder != "about" for file in files]
    names += [f"checkpoint/{name}" for name in (CHECKPOINT_MANIFEST, *read_manifest(checkpoint).files)]
    places = {name: place(project, run, checkpoint.name, name) for name in names}
    places[LOCK] = project / "requirements.lock"
    found = {}
    for name, path in places.items():
        if path.is_file():
            with reading_errors(path):
                found[name] = path.read_bytes()
    return found


def _card(project: Path, record: RunRecord, checkpoint: str) -> str:
    run = record["run_name"]
    seen = overview(project, run)
    rows = [
        f"| {agent} | {score.mean:,.1f} | {'-' if score.low is None else f'{score.low:,.1f} to {score.high:,.1f}'} "
        f"| {score.episodes} |"
        for agent, score in seen.scores.items()
    ]
    commit = record["commit"]
    clean = commit.removesuffix("-dirty")
    return CARD_TEXT.format(
        run=run,
        game=record["game"],
        seed=record["seed"],
        frames=seen.frames,
        checkpoint=checkpoint,
        scores="\n".join(rows),
        protocol=seen.protocol,
        commit=clean,
        dirty="" if clean == commit else ", with changes that were not committed",
        fingerprint=record["fingerprint"],
        command=command(record["run_name"]),
        environment=environment_name(run),
        same_code=_same_code(clean),
    )


def _same_code(commit: str) -> str:
    """Return the commands that bring the code of a run."""
    if commit.startswith("v"):  # of an installed package: see `code_version`
        return INSTALLED.format(version=commit[1:].partition("+")[0])
    return CHECKOUT.format(commit=commit)


def _write_zip(path: Path, files: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)  # of 1980: the clock is no part of it
            info.external_attr = 0o100644 << 16
            info.compress_type = zipfile.ZIP_STORED if name.endswith(".safetensors") else zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
