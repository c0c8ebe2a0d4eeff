"""The parent run's learning curve: each step once, even if its run was stopped and resumed."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from mlflow import MlflowClient

from meme57.tracking.metrics import MetricsWriter, finite_numbers
from meme57.tracking.results import curve_results
from meme57.tracking.store import first_line

FRAMES = "frames"
"""The column of the step."""
EVALUATION = "evaluation/return"

log = logging.getLogger(__name__)


class ParentCurve:
    """Adds rows once a checkpoint covers them, since a killed process's later rows are learned again.

    If the store lacks rows, because it did not answer or was another store, the next checkpoint adds them.
    """

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self._client, self._run_id = client, run_id
        self._writer = MetricsWriter(client, run_id)
        self._last_step: int | None = None
        """Step of the last row that went to the writer; None before the store was read."""

    def bring_up_to_date(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Add those of `rows`, ordered by their frames, that the run lacks; a failure is only a warning.

        The last row may come again with the evaluation that a stop had left out.
        """
        if not rows:
            return
        evaluated = {name: value for name, value in rows[-1].items() if name == EVALUATION}
        try:
            last = self._stored_step(rows[-1]) if self._last_step is None else self._last_step
            is_late = _step(rows[-1]) == last > self._stored_step(evaluated)
        except Exception as error:  # training continues even if the store fails
            log.warning("the learning curve waits for the MLflow store: %s", first_line(error))
            return
        for row in rows:
            if _step(row) > last:
                self._add(row)
        if is_late and evaluated:
            self._add({FRAMES: last, **evaluated})
        self._last_step = max(last, _step(rows[-1]))
        self._writer.flush()

    def _add(self, row: Mapping[str, object]) -> None:
        values = {name: value for name, value in row.items() if name != FRAMES}
        self._writer.add(curve_results(values, frames=_step(row)) | values, step=_step(row))

    def close(self) -> None:
        """Try again to write the rows that wait."""
        self._writer.flush()

    def _stored_step(self, row: Mapping[str, object]) -> int:
        name = next((name for name in finite_numbers(row) if name != FRAMES), None)
        history = [] if name is None else self._client.get_metric_history(self._run_id, name)
        return max((point.step for point in history), default=-1)


def _step(row: Mapping[str, object]) -> int:
    return int(float(str(row[FRAMES])))
