"""The project's one exception family.

A message says what happened, the value, and what to type next, on one line, and never a password.
"""

from __future__ import annotations

import re

PASSWORD = re.compile(r"(\b\w[\w+.-]*://[^\s/:@]*:)[^\s/@]+(?=@)")
"""Of an address such as `postgresql://me:secret@host/db`; a password's own / and @ are percent-encoded there."""


def without_passwords(text: str) -> str:
    """Return the text with `***` for the password of each address in it."""
    return PASSWORD.sub(r"\1***", text)


class Meme57Error(Exception):
    """Base of every error that meme57 raises on purpose."""

    def __str__(self) -> str:
        """Return the message on one line, whatever a file or a person put into it."""
        return without_passwords(" ".join(super().__str__().split()))


class RefusalError(Meme57Error):
    """What was asked for is not possible as things are; nothing broke.

    A run that ends in one before it did anything leaves nothing in MLflow.
    """


class ConfigurationError(RefusalError):
    """A parameter is unknown, has the wrong type, or has an impossible value."""


class EnvironmentSetupError(RefusalError):
    """A game cannot be created as asked."""


class ActorError(Meme57Error):
    """Ray cannot start here, or an actor failed with an error of its own."""


class ReplayError(Meme57Error):
    """Replay data are missing, damaged, or belong to another run."""


class IncompatibleReplayError(RefusalError, ReplayError):
    """A seed replay is whole, but was collected with other settings."""


class CheckpointError(Meme57Error):
    """A checkpoint is damaged, missing, or does not fit the configuration."""


class IncompatibleCheckpointError(RefusalError, CheckpointError):
    """Files are whole, but belong to other weights, another run or configuration, or to a newer version of meme57."""


class StorageError(Meme57Error):
    """A file cannot be written or read: the disk is full, or access is denied."""


class CapsuleError(Meme57Error):
    """A capsule is damaged or holds what no capsule does, or a run cannot be put into one."""


class VideoError(Meme57Error):
    """A film cannot be made: no working ffmpeg, or a game that draws no pictures. Nothing else depends on a film."""


class RunConflictError(RefusalError):
    """The name of a run or a study is taken by another configuration or another process."""


class NonFiniteLossError(Meme57Error):
    """The loss or its gradient was not finite too many times in a row."""

    batch: object = None
    """The last of the batches, if known."""


class AddressError(RefusalError):
    """The address of a database leads to nothing that can be used."""


class TrackingError(Meme57Error):
    """The tracking store or the model registry cannot be used."""


class UnreachableStoreError(TrackingError):
    """The tracking server does not answer; a run can be written to this machine instead."""


class TuningError(Meme57Error):
    """A study's storage cannot be opened, or it has nothing to show."""


class SuiteError(Meme57Error):
    """Members of a suite failed; the others are done."""


class ResourceError(RefusalError):
    """A run does not fit this machine's disk or memory, or asks for Ray, which is not here."""


class Interrupted(Meme57Error):  # noqa: N818 - a request to stop, not a fault
    """The run was asked to stop (`meme57.stopping`) and wrote a checkpoint first."""


def own_error(error: BaseException) -> Meme57Error | None:
    """Return the `Meme57Error` behind `error`: itself, or the one that Kedro wrapped into a `DatasetError`."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, Meme57Error):
            return seen
        seen = seen.__cause__
    return None


def one_line(error: BaseException) -> str:
    """Describe an error on one line: a `Meme57Error` by its message, others with their type."""
    words = without_passwords(" ".join(str(error).split()))[:500]
    return words if isinstance(error, Meme57Error) else f"{type(error).__name__}: {words}"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type if it has none."""
    return without_passwords(next(iter(str(error).strip().splitlines()), type(error).__name__))
