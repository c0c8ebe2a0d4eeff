"""From a capsule to a run. Names, sizes and checksums are checked before a file is placed; no path in it is used."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from meme57.agent.torso import TORSOS
from meme57.capsules.contents import (
    FORMAT,
    MANIFEST,
    REQUIRED,
    Manifest,
    as_yaml,
    command,
    environment,
    environment_name,
    place,
)
from meme57.checkpoints.manifest import AGENT
from meme57.checkpoints.source import checkpoint_source
from meme57.config import parse_parameters
from meme57.config.identity import changes
from meme57.datasets.schemas import Scores
from meme57.envs import foreign_code
from meme57.errors import CapsuleError, Meme57Error, RunConflictError, first_line
from meme57.evaluation.scores import check_scores
from meme57.files import (
    checked,
    parse_as,
    read_json,
    refuse_half_characters,
    storage_errors,
    tree_digest,
    write_bytes,
)
from meme57.learning.policies import STUDENT_ENV, Teacher, load_student
from meme57.learning.student_record import RECORD, check_student
from meme57.tracking.overview import LAYERS, run_folder
from meme57.tracking.run_record import read_record, refuse_lookalike, run_folders

MOST_FILES = 100
MOST_BYTES = 8 * 2**30
LARGEST_MANIFEST = 2**20
LARGEST_RATIO = 100
"""Of a file's size to what it takes in the capsule, above `SMALL` bytes."""
SMALL = 2**20
BLOCK = 2**20
UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError)
"""What the archive of somebody else may raise."""


@dataclass(frozen=True)
class OpenCapsule:
    """A capsule whose files were found right; they lie in `folder` as in a project, for as long as it is open."""

    manifest: Manifest
    folder: Path
    environment: str
    """`parameters.yml` of the environment that reproduces the run, made from its record."""


@contextlib.contextmanager
def open_capsule(path: Path, beside: Path | None = None) -> Iterator[OpenCapsule]:
    """Unpack a capsule into a temporary folder in `beside`, and check all of it.

    Raises:
        CapsuleError: one line; nothing is left.
    """
    with tempfile.TemporaryDirectory(prefix=".capsule-", dir=beside) as temporary:
        folder = Path(temporary)
        try:
            manifest = _unpack(path, folder)
            yaml_text = _check(folder, manifest)
        except Meme57Error as error:
            raise CapsuleError(f"{path} is no capsule to be trusted, and nothing was written: {error}") from error
        yield OpenCapsule(manifest, folder, yaml_text)


def import_capsule(path: Path, project: Path) -> Manifest:
    """Add the run of a capsule to a project; all of it, or nothing.

    Raises:
        CapsuleError: the capsule is not whole, or holds what no capsule does.
        RunConflictError: there is such a run or environment; one line with what helps.
    """
    data = project / "data"
    with storage_errors(data):
        data.mkdir(exist_ok=True)
    with open_capsule(path, beside=data) as capsule:
        run = capsule.manifest.run
        _refuse_existing(project, run)
        target = project / "conf" / environment_name(run) / "parameters.yml"
        _refuse_other_environment(target, capsule.environment)
        is_new = not target.exists()
        write_bytes(target, capsule.environment.encode())  # first: without its run, an environment is in nobody's way
        try:
            _place(capsule.folder, project, run)
        except BaseException:
            if is_new:
                shutil.rmtree(target.parent, ignore_errors=True)
            raise
        return capsule.manifest


def _refuse_existing(project: Path, run: str) -> None:
    refuse_lookalike(project, run)
    folders = run_folders(project, run)
    if not folders:
        return
    if read_record(project, run) is not None:
        raise RunConflictError(f"there is a run {run!r}: `meme57 runs delete {run}` removes it, then import again")
    names = ", ".join(str(folder.relative_to(project)) for folder in folders)
    raise RunConflictError(f"{names} is in the way, without a run: remove it, then import again")


def _refuse_other_environment(path: Path, text: str) -> None:
    if path.parent.exists() and not (path.is_file() and path.read_text(encoding="utf-8") == text):
        raise RunConflictError(f"{path.parent} is another environment: remove or rename it, then import again")


def _place(folder: Path, project: Path, run: str) -> None:
    """Move the run's folders; the one with the run record goes last, and makes it a run."""
    layers = [layer for name, layer in LAYERS.items() if name != "intermediate"] + [LAYERS["intermediate"]]
    placed: list[Path] = []
    try:
        for layer in layers:
            source, target = folder / "data" / layer / run, project / "data" / layer / run
            if source.is_dir():
                with storage_errors(target):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    os.rename(source, target)
                placed.append(target)
    except BaseException:
        for target in placed:
            shutil.rmtree(target, ignore_errors=True)
        raise


def _unpack(path: Path, folder: Path) -> Manifest:
    """Write every file where it belongs below `folder`, after its name, size and checksum were found right."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename: info for info in _members(archive)}
            if MANIFEST not in members:
                raise CapsuleError(f"it has no {MANIFEST}")
            manifest = _manifest(archive, members.pop(MANIFEST))
            if manifest.command != command(manifest.run):
                raise CapsuleError(f"its command is not the one that trains run {manifest.run!r} again")
            if missing := (set(manifest.files) | set(REQUIRED)) - set(members):
                raise CapsuleError(f"{min(missing)} is missing")
            if unknown := set(members) - set(manifest.files):
                raise CapsuleError(f"it holds {min(unknown)!r}, which its manifest does not name")
            for name, info in members.items():
                target = place(folder, manifest.run, manifest.checkpoint, name)
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(info) as source, target.open("wb") as sink:
                    digest, size = _copy(source, sink, manifest.files[name].bytes)
                if (digest, size) != (manifest.files[name].sha256, manifest.files[name].bytes):
                    raise CapsuleError(f"the checksum of {name} does not match")
    except UNREADABLE as error:
        raise CapsuleError(f"it cannot be read ({first_line(error)})") from error
    return manifest


def _members(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Return the members of an archive whose names and sizes a capsule may have.

    Raises:
        CapsuleError: one line that names the first that it may not have.
    """
    members, seen, total = archive.infolist(), set(), 0
    if len(members) > MOST_FILES:
        raise CapsuleError(f"it holds {len(members):,} files, more than {MOST_FILES}")
    for info in members:
        name, kind = info.filename, stat.S_IFMT(info.external_attr >> 16)
        parts = PurePosixPath(name).parts
        if name.startswith("/") or "\\" in name or ":" in name:
            raise CapsuleError(f"it names {name!r}, an absolute path")
        if ".." in parts:
            raise CapsuleError(f"it names {name!r}, a path that climbs out")
        if kind not in (0, stat.S_IFREG) or info.is_dir():
            raise CapsuleError(f"{name!r} is a link or no file")
        if name.casefold() in seen:
            raise CapsuleError(f"it holds {name!r} twice")
        if info.flag_bits & 0x1:
            raise CapsuleError(f"{name!r} is encrypted")
        seen.add(name.casefold())
        total += info.file_size
        if total > MOST_BYTES or info.file_size > max(SMALL, LARGEST_RATIO * info.compress_size):
            raise CapsuleError(f"{name!r} would unpack to {info.file_size:,} bytes from {info.compress_size:,}")
    return members


def _manifest(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Manifest:
    if info.file_size > LARGEST_MANIFEST:
        raise CapsuleError(f"{MANIFEST} has {info.file_size:,} bytes")
    try:
        text = archive.read(info).decode()
        tree: Any = json.loads(text)
        refuse_half_characters(text, tree)
        digest = tree.pop("sha256", None)
        if tree.get("format") != FORMAT:
            raise CapsuleError(f"it has format {tree.get('format')!r}, this version of meme57 reads {FORMAT}")
        manifest = parse_as(Manifest, tree)
    except (ValueError, AttributeError, RecursionError) as error:
        raise CapsuleError(f"{MANIFEST} is damaged: {first_line(error)}") from error
    if digest != tree_digest(tree):
        raise CapsuleError(f"the checksum of {MANIFEST} does not match")
    return manifest


def _copy(source: IO[bytes], sink: IO[bytes], expected: int) -> tuple[str, int]:
    """Copy no more than one block beyond the expected bytes: SHA-256 and size of what was copied."""
    digest, size = hashlib.sha256(), 0
    while size <= expected and (block := source.read(BLOCK)):
        digest.update(block)
        sink.write(block)
        size += len(block)
    return digest.hexdigest(), size


def refuse_code(tree: Any) -> None:
    """Refuse a torso, an environment or a wrapper that is code of somebody else.

    Args:
        tree: with the groups `env` and `network`, or one of them.

    Raises:
        CapsuleError: one line.
    """
    try:
        torso = tree.get("network", {}).get("torso", "small")
        env = tree.get("env", {})
        env = {**env, **(env.get("gymnasium") or {})}
        code = foreign_code(env.get("id") or "", env.get("wrappers") or [])
    except (AttributeError, TypeError) as error:
        raise CapsuleError(f"the parameters are damaged: {first_line(error)}") from error
    if torso not in TORSOS:
        raise CapsuleError(f"the torso {torso!r} is not built in, and a capsule brings no code")
    if code:
        raise CapsuleError(f"the environment is {code[0]!r}, and a capsule brings no code")


def _check(folder: Path, manifest: Manifest) -> str:
    """Check that the files are of one run, one game and one checkpoint: the run's environment as YAML.

    Raises:
        Meme57Error: one line.
    """
    run = manifest.run
    record = read_record(folder, run)
    assert record is not None
    parameters = environment(record)
    checkpoint = run_folder(folder, "models", run) / "checkpoints" / manifest.checkpoint
    student = run_folder(folder, "models", run) / "student"
    refuse_code(parameters)  # before anything is validated: a name may stand for code
    refuse_code(read_json(checkpoint / AGENT))
    if student.is_dir() and (student / STUDENT_ENV).is_file():
        refuse_code({"env": read_json(student / STUDENT_ENV)})
    chosen = parse_parameters({key: value for key, value in parameters.items() if key != "extends"})
    if (chosen.env.game, chosen.run.seed) != (record["game"], record["seed"]) or manifest.game != record["game"]:
        raise CapsuleError(f"the run record is of {record['game']}, seed {record['seed']}, the configuration is not")
    teacher, source = Teacher.load(checkpoint), checkpoint_source(checkpoint)
    stored = read_json(checkpoint / "manifest.json")["configuration"]
    if what := changes(stored, record["configuration"]):
        raise CapsuleError(f"the weights are of another run ({what})")
    if teacher.env.game != manifest.game:
        raise CapsuleError(f"the weights are of another game, {teacher.env.game}")
    sha256 = None
    if student.is_dir():
        student_record = read_json(student / RECORD)
        check_student(student_record, student, source)
        load_student(student)
        sha256 = student_record["weights_sha256"]
    path = run_folder(folder, "reporting", run) / "scores.json"
    scores = read_json(path)
    checked(Scores, scores, path)
    check_scores(scores, run_name=run, source=source, student_sha256=sha256)
    return as_yaml(parameters)
