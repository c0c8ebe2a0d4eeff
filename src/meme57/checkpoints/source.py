"""The weights that a file comes from: a checkpoint's name and checksum. Files from other weights are not combined."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypedDict

from meme57.checkpoints.manifest import Manifest, check_folder, manifest_checksum
from meme57.errors import CheckpointError, IncompatibleCheckpointError

SHORT = 12
_TEXT = re.compile(rb"(checkpoint-\d{6,}) ([0-9a-f]{64})")
_PROTOCOL = re.compile(rb"checkpoint-\d{6,} [0-9a-f]{64} protocol ([!-~]+)")


class Source(TypedDict):
    """The checkpoint that something was derived from."""

    checkpoint: str
    sha256: str
    """Checksum of its manifest, which holds the checksum of every file."""


def checkpoint_source(folder: Path) -> Source:
    """Return name and checksum of a checkpoint folder, after comparing every file with its manifest.

    Raises:
        CheckpointError: a file is missing or changed; one line that says what to do.
    """
    return Source(checkpoint=folder.name, sha256=manifest_checksum(check_whole(folder)))


def check_whole(folder: Path) -> Manifest:
    """Run `check_folder`, and say in its error about damage what to do."""
    try:
        return check_folder(folder)
    except IncompatibleCheckpointError:
        raise
    except CheckpointError as error:
        raise CheckpointError(
            f"{error}: remove {folder}, then `kedro run --pipelines learn` chooses the best of the others"
        ) from error


def check_source(found: Any, expected: Source, *, what: str, maker: str) -> None:
    """Refuse a result that was derived from other weights than `expected`.

    Args:
        found: the `source` that was stored; it may be anything, since a person may have edited it.
        what: subject and verb of the message, such as `the scores are`.
        maker: the pipeline that makes the result again.

    Raises:
        IncompatibleCheckpointError: one line with the command to type.
    """
    if found == expected:
        return
    named = isinstance(found, dict) and {"checkpoint", "sha256"} <= set(found)
    of = f"of {_words(found)}" if named else "of no checkpoint that they name"
    raise IncompatibleCheckpointError(
        f"{what} {of}, and the best checkpoint is {_words(expected)}: "
        f"`kedro run --pipelines {maker}` first (same options)"
    )


def as_text(source: Source, protocol: str) -> str:
    """Format a comment for a file such as a film; `protocol` has no spaces (`protocol_name`)."""
    return f"{source['checkpoint']} {source['sha256']} protocol {protocol}"


def find_text(content: bytes) -> Source | None:
    """Find the source that `as_text` wrote in a file's content."""
    found = _TEXT.search(content)
    return Source(checkpoint=found[1].decode(), sha256=found[2].decode()) if found else None


def find_protocol(content: bytes) -> str | None:
    """Find the protocol that `as_text` wrote; None if an older version wrote none."""
    found = _PROTOCOL.search(content)
    return found[1].decode() if found else None


def _words(source: Any) -> str:
    return f"{source['checkpoint']} ({str(source['sha256'])[:SHORT]})"
