"""The storage of a study, a local journal file or a shared database, and the detection of dead workers.

With a journal, a lock on a file is each trial's lease; the system releases it whenever the worker ends. Asking for a
trial and looking for dead ones happen under another lock, the study's. A database uses Optuna's heartbeat.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages._rdb.models import TrialModel
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import ArgumentError

from meme57.addresses import prepare_database, sqlite_path
from meme57.errors import AddressError, TuningError
from meme57.files import storage_errors

MOST_DEATHS = 3
"""A trial is given up if its worker dies more often, since the trial may be the cause."""
REMEDY = "put a copy of it back, or move it away: the same command begins the study again"
ORIGIN, PREDECESSOR, DEATHS, CAUSE = "origin", "predecessor", "deaths", "cause"

log = logging.getLogger(__name__)


def open_storage(url: str | None, journal: Path, *, heartbeat_seconds: int) -> BaseStorage:
    """Open the database at `url`, or the journal.

    Raises:
        AddressError: the database's address cannot be used, or its driver is not installed.
        TuningError: the storage cannot be opened.
    """
    database = None if url is None else sqlite_path(url)
    if database is not None:
        prepare_database(database)
    try:
        if url is None:
            journal.parent.mkdir(parents=True, exist_ok=True)
            _drop_unfinished_line(journal)
            return JournalStorage(JournalFileBackend(str(journal)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return _Database(
                url, heartbeat_interval=heartbeat_seconds, heartbeat_stale_trial_callback=_requeue_after_silence
            )
    except Exception as error:  # the errors of drivers and parsers have no common base class
        words = f"{type(error).__name__} {' '.join(str(error).split())[:200]}"
        kind = AddressError if isinstance(error, (ArgumentError, ImportError)) else TuningError
        raise kind(f"the study's storage {url or journal} cannot be opened: {words}: {REMEDY}") from error


class Leases:
    """Shows which trials of a journal have a living worker."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def study(self) -> Iterator[None]:
        """Lock the study: only one process at a time asks for trials or looks for dead ones."""
        path = self._folder / "study.lock"
        with storage_errors(path):
            stream = path.open("w")
        with stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    def take(self, number: int) -> IO[str]:
        """Take the lease of a trial; it lasts until the stream is closed or the process ends."""
        with storage_errors(self._path(number)):
            stream = self._path(number).open("w")
        fcntl.flock(stream, fcntl.LOCK_EX)
        return stream

    def is_held(self, number: int) -> bool:
        """Say whether a living process has the lease."""
        try:
            with self._path(number).open("r") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def _path(self, number: int) -> Path:
        return self._folder / f"trial-{number:06d}.lock"


def requeue_dead(study: optuna.Study, leases: Leases) -> None:
    """Put the trials of dead workers back into the queue; call it under `leases.study()`.

    A copy is made once, before the trial is marked. So a process that dies in between loses and repeats nothing.
    """
    trials = study.get_trials(deepcopy=False)
    copied = {trial.user_attrs.get(PREDECESSOR) for trial in trials}
    for trial in trials:
        if trial.state == TrialState.RUNNING and not leases.is_held(trial.number):
            kept = trial.number in copied or requeue(study, trial, deaths=1)
            give_up(study, trial, "its worker stopped; a copy resumes it" if kept else "its workers died too often")


def requeue(study: optuna.Study, trial: FrozenTrial, *, deaths: int) -> bool:
    """Queue a copy that resumes from the trial's checkpoints; return False if its worker has died too often."""
    total = int(trial.user_attrs.get(DEATHS, 0)) + deaths
    if total > MOST_DEATHS:
        log.warning("trial %d: its worker died %d times, so it is given up", origin(trial), total)
        return False
    copy = optuna.trial.create_trial(
        state=TrialState.WAITING,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs={**trial.user_attrs, ORIGIN: origin(trial), PREDECESSOR: trial.number, DEATHS: total},
        system_attrs=trial.system_attrs,
    )
    study.add_trial(copy)
    log.info("trial %d goes back into the queue", origin(trial))
    return True


def give_up(study: optuna.Study, trial: FrozenTrial, cause: str) -> None:
    """Mark a trial as failed, with the cause, unless another worker has taken it over meanwhile."""
    with contextlib.suppress(UpdateFinishedTrialError):
        study._storage.set_trial_user_attr(trial._trial_id, CAUSE, cause)
        study.tell(trial.number, state=TrialState.FAIL)


def origin(trial: FrozenTrial) -> int:
    """Return the number under which the trial first ran; it names the trial's folder."""
    return int(trial.user_attrs.get(ORIGIN, trial.number))


def latest(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """List each trial once; a trial that was resumed counts as its last copy."""
    return list({origin(trial): trial for trial in trials}.values())


class _Database(RDBStorage):
    """Also finds a worker that died before its first heartbeat, whose trial Optuna leaves running for ever."""

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        with _create_scoped_session(self.scoped_session) as session:
            running = session.query(TrialModel).filter_by(study_id=study_id, state=TrialState.RUNNING)
            silent = [int(trial.trial_id) for trial in running.filter(~TrialModel.heartbeats.any())]
        for trial_id in silent:  # the first heartbeat is ours: the next ones must be the worker's
            self.record_heartbeat(trial_id)
        stale: list[int] = super()._get_stale_trial_ids(study_id)
        return stale


def _requeue_after_silence(study: optuna.Study, trial: FrozenTrial) -> None:
    requeue(study, trial, deaths=1)


def _drop_unfinished_line(journal: Path) -> None:
    """Drop the half line of a writer that was cut off; it would spoil the next line.

    Raises:
        ValueError: the last line is whole but not JSON; Optuna would notice that only after the next line.
    """
    if not journal.exists():
        return
    lock = JournalFileSymlinkLock(str(journal))
    lock.acquire()
    try:
        content = journal.read_bytes()
        if not content.endswith(b"\n"):
            log.warning("%s ends in half a line, which is dropped", journal)
            with journal.open("r+b") as stream:
                stream.truncate(content.rfind(b"\n") + 1)
        elif content:
            json.loads(content.splitlines()[-1])
    finally:
        lock.release()
