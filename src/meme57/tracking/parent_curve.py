"""The parent run has the whole learning curve, each step once, however often its run was stopped and resumed."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from mlflow import MlflowClient

from meme57.tracking.metrics import MetricsWriter, finite_numbers
from meme57.tracking.store import first_line

log = logging.getLogger(__name__)


class ParentCurve:
    """Rows go in when a checkpoint covers them: those that a killed process wrote after it are learned again.

    What the store lacks, because it did not answer or was another one, is added with the next checkpoint.
    """

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self._client, self._run_id = client, run_id
        self._writer = MetricsWriter(client, run_id)
        self._last_step: int | None = None
        """Of the rows that were handed to the writer; None before the store was asked."""

    def bring_up_to_date(self, rows: Sequence[Mapping[str, object]], *, step: str) -> None:
        """Adds those of `rows`, ordered by the column `step`, that the run lacks; a failure costs a warning."""
        try:
            last = self._stored_step(rows[-1], step) if self._last_step is None else self._last_step
        except Exception as error:  # training goes on, whatever the store says
            log.warning("the learning curve waits for the MLflow store: %s", first_line(error))
            return
        for row in rows:
            at = int(float(str(row[step])))
            if at > last:
                self._writer.add({name: value for name, value in row.items() if name != step}, step=at)
                last = at
        self._last_step = last
        self._writer.flush()

    def close(self) -> None:
        """Tries once more to write what waits."""
        self._writer.flush()

    def _stored_step(self, row: Mapping[str, object], step: str) -> int:
        name = next((name for name in finite_numbers(row) if name != step), None)
        history = [] if name is None else self._client.get_metric_history(self._run_id, name)
        return max((point.step for point in history), default=-1)
