"""Write metrics in batches, every few seconds, with one writer: one metric costs almost as much as fifty."""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Callable, Iterable, Mapping

from mlflow import MlflowClient
from mlflow.entities import Metric

from meme57.tracking.store import first_line

LARGEST_BATCH = 1000
LARGEST_BACKLOG = 100_000
RETRY_SECONDS = 60.0
"""Wait between attempts after a failure, since each attempt delays training."""

log = logging.getLogger(__name__)


class MetricsWriter:
    """Buffers the metrics of one run; `step` is emulator frames.

    A store that does not answer never stops training. The rows wait for the next flush, and the learning curve on disk
    has them in any case.
    """

    def __init__(
        self,
        client: MlflowClient,
        run_id: str,
        *,
        also: Callable[[Mapping[str, float], int], None] = lambda metrics, step: None,
        period_seconds: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`add` skips what the run has already. A metric's steps only rise, so each step is written once.

        Args:
            also: is given what `add` writes, with its step.
        """
        self._client, self._also = client, also
        self._run_id = run_id
        self._last_steps: dict[str, int] = {}
        self._period_seconds = period_seconds
        self._wait_seconds = period_seconds
        self._clock = clock
        self._waiting: list[Metric] = []
        self._flushed_at = clock()

    def add(self, metrics: Mapping[str, object], *, step: int) -> None:
        """Add finite numbers (None, NaN, infinities and text are skipped), and write if the period is over."""
        timestamp = int(time.time() * 1000)
        new = {key: value for key, value in _finite(metrics).items() if step > self._last_steps.get(key, -1)}
        self._waiting += [Metric(key, value, timestamp, step) for key, value in new.items()]
        self.note(new, step=step)
        self._also(new, step)
        if self._clock() - self._flushed_at >= self._wait_seconds:
            self.flush()

    def note(self, names: Iterable[str], *, step: int) -> None:
        """Note that the run has these metrics up to `step`, from this process or another."""
        self._last_steps |= dict.fromkeys(map(metric_name, names), step)

    def flush(self) -> bool:
        """Write everything that waits; return False if the store did not accept all."""
        self._flushed_at = self._clock()
        while self._waiting:
            batch = self._waiting[:LARGEST_BATCH]
            try:
                self._client.log_batch(self._run_id, metrics=batch)
            except Exception as error:  # training continues even if the store fails
                log.warning("%d metrics wait for the MLflow store: %s", len(self._waiting), first_line(error))
                self._waiting = self._waiting[-LARGEST_BACKLOG:]
                self._wait_seconds = RETRY_SECONDS
                self._flushed_at = self._clock()
                return False
            self._wait_seconds = self._period_seconds
            self._waiting = self._waiting[len(batch) :]
        return True


def _finite(metrics: Mapping[str, object]) -> dict[str, float]:
    return {metric_name(key): value for key, value in finite_numbers(metrics).items()}


def finite_numbers(metrics: Mapping[str, object]) -> dict[str, float]:
    """Return the entries that are finite numbers, as floats; booleans count as 0 and 1."""
    numbers = {}
    for key, value in metrics.items():
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            continue
        if math.isfinite(number) and not isinstance(value, str):
            numbers[key] = number
    return numbers


def metric_name(name: str) -> str:
    """Make a name that MLflow accepts: letters, digits and `_-. :/`; other characters become `_`."""
    return re.sub(r"[^\w\-. :/]", "_", name)
