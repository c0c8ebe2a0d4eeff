"""What is of other weights is not joined, and the message says what to type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from meme57.checkpoints.manifest import write_manifest
from meme57.checkpoints.source import Source, as_text, check_source, checkpoint_source, find_text
from meme57.errors import CheckpointError, IncompatibleCheckpointError

BEST = Source(checkpoint="checkpoint-000002", sha256="ab" * 32)


def make_checkpoint(folder: Path, content: str) -> Path:
    folder.mkdir()
    for name in ("state.json", "agent.json"):
        (folder / name).write_text(content)
    write_manifest(folder, fingerprint="abc", configuration={}, frames=1, updates=1, score=None, is_best=True)
    return folder


def test_the_checksum_tells_equal_names_apart(tmp_path: Path) -> None:
    for run, content in (("a", "{}"), ("b", "{}"), ("c", "[]")):
        (tmp_path / run).mkdir()
        make_checkpoint(tmp_path / run / "checkpoint-000001", content)
    same, again, other = (checkpoint_source(tmp_path / run / "checkpoint-000001") for run in "abc")
    assert same == again
    assert same["checkpoint"] == other["checkpoint"]
    assert same["sha256"] != other["sha256"]


def test_a_damaged_manifest_is_no_source(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "checkpoint-000001", "{}")
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"frames": 1', '"frames": 2'))
    with pytest.raises(CheckpointError, match="checksum does not match"):
        checkpoint_source(folder)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({**BEST, "checkpoint": "checkpoint-000001"}, r"of checkpoint-000001 \(abababababab\)"),
        ({**BEST, "sha256": "cd" * 32}, r"of checkpoint-000002 \(cdcdcdcdcdcd\)"),
        (None, "of no checkpoint that they name"),
        ({}, "of no checkpoint that they name"),
        ("checkpoint-000002", "of no checkpoint that they name"),
    ],
)
def test_other_weights_are_refused(found: Any, words: str) -> None:
    with pytest.raises(
        IncompatibleCheckpointError, match=rf"the scores are {words}, and the best .*--pipelines evaluate"
    ) as error:
        check_source(found, BEST, what="the scores are", maker="evaluate")
    assert "\n" not in str(error.value)


def test_the_same_weights_pass() -> None:
    check_source(dict(BEST), BEST, what="the scores are", maker="evaluate")


def test_a_film_carries_its_source() -> None:
    assert find_text(b"\x00\x01cmt" + as_text(BEST, "sticky0-eps0").encode() + b"\xff") == BEST
    assert find_text(b"\x00\x01cmt") is None
