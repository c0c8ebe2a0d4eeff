"""The trials of a study and the members of a suite: children of its run, opened by the process that works on them.

A trial that ended or was pruned is FINISHED, with the tag `meme57.trial_state`. A trial that raised is FAILED. A trial
whose worker was stopped is KILLED, and reopened when it resumes. A failing store never makes a trial fail.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from meme57.tracking.metrics import MetricsWriter
from meme57.tracking.process import process_tags
from meme57.tracking.run_record import TrackingRun
from meme57.tracking.runs import KIND, PARENT, RUN_NAME, Status, create_run, end_run, reopen
from meme57.tracking.store import Store, first_line

STATE = "meme57.trial_state"
STATUSES: dict[str, Status] = {"COMPLETE": "FINISHED", "PRUNED": "FINISHED", "FAIL": "FAILED", "STOPPED": "KILLED"}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StudyRun:
    """Where a study's trials are recorded; plain text, so that it can go to another process."""

    tracking_uri: str
    experiment_id: str
    run_id: str
    study: str
    kind: str = "trial"
    """Kind of its children: `trial` for a study, `member` for a suite."""

    @classmethod
    def of(cls, run: TrackingRun, study: str, *, kind: str = "trial") -> StudyRun | None:
        """Make it from the run that the hook opened; None if no store records that run."""
        if not run["run_id"]:
            return None
        return cls(run["tracking_uri"], run["experiment_id"], run["parent_run_id"], study, kind)


class TrialRun:
    """One trial's run in MLflow; does nothing if there is no study run or the store does not answer."""

    def __init__(
        self,
        study: StudyRun | None,
        name: str,
        parameters: Mapping[str, Any],
        known: str | None,
        *,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self.run_id: str | None = None
        self._metrics: MetricsWriter | None = None
        if study is None:
            return
        try:
            self._client = Store(study.tracking_uri, None).client()
            self.run_id = self._open(study, name, parameters, known, tags or {})
            self._metrics = MetricsWriter(self._client, self.run_id)
            if known is not None:
                self._note_what_is_there(known)
        except Exception as error:  # MLflow does not wrap the errors of its stores
            log.warning("%s is not followed in MLflow: %s", name, first_line(error))

    def report(self, metrics: Mapping[str, object], *, frames: int) -> None:
        """Write metrics, in batches."""
        if self._metrics is not None:
            self._metrics.add(metrics, step=frames)

    def close(self, state: str, note: str | None = None) -> None:
        """End the run with the status of `state` in `STATUSES`."""
        if self._metrics is None or self.run_id is None:
            return
        self._metrics.flush()
        try:
            self._client.set_tag(self.run_id, STATE, state)
            end_run(self._client, self.run_id, STATUSES[state], note)
        except Exception as error:
            log.warning("run %s stays open in MLflow: %s", self.run_id, first_line(error))

    def _note_what_is_there(self, run_id: str) -> None:
        """Note the metrics that the run has, since a resumed trial reports some of them again."""
        assert self._metrics is not None
        for name in self._client.get_run(run_id).data.metrics:
            history = self._client.get_metric_history(run_id, name)
            self._metrics.note([name], step=max(point.step for point in history))

    def _open(
        self, study: StudyRun, name: str, parameters: Mapping[str, Any], known: str | None, tags: Mapping[str, str]
    ) -> str:
        if known is not None:
            reopen(self._client, known)
            return known
        tags = {**tags, PARENT: study.run_id, KIND: study.kind, RUN_NAME: study.study, **process_tags()}
        return create_run(self._client, study.experiment_id, name, tags, parameters)
