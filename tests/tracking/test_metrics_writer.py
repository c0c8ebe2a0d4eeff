from __future__ import annotations

import logging

import numpy as np
import pytest

from meme57.tracking.metrics import MetricsWriter, finite_numbers, metric_name
from meme57.tracking.runs import ActiveRun


def _history(active: ActiveRun, name: str) -> list[tuple[int, float]]:
    return [(metric.step, metric.value) for metric in active.client.get_metric_history(active.run_id, name)]


def test_writes_when_the_period_is_over_and_not_before(active: ActiveRun) -> None:
    now = 0.0
    writer = MetricsWriter(active.client, active.run_id, period_seconds=5.0, clock=lambda: now)
    writer.add({"loss": 1.0}, step=100)
    now = 4.9
    writer.add({"loss": 2.0}, step=200)
    assert _history(active, "loss") == []
    now = 5.0
    writer.add({"loss": 3.0}, step=300)
    assert _history(active, "loss") == [(100, 1.0), (200, 2.0), (300, 3.0)]


def test_a_step_is_told_once(active: ActiveRun) -> None:
    """A checkpoint and the curve's row tell the same numbers, and a resumed run repeats a row."""
    writer = MetricsWriter(active.client, active.run_id)
    writer.note(["loss/total (mean)"], step=100)
    for step in (100, 200, 200, 100, 300):
        writer.add({"loss/total (mean)": step, "other": step}, step=step)
    writer.flush()
    assert _history(active, "loss/total _mean_") == [(200, 200.0), (300, 300.0)]
    assert _history(active, "other") == [(100, 100.0), (200, 200.0), (300, 300.0)]


def test_flush_takes_more_than_one_batch(active: ActiveRun) -> None:
    writer = MetricsWriter(active.client, active.run_id, period_seconds=1e9)
    for step in range(1201):
        writer.add({"x": step}, step=step)
    assert writer.flush()
    assert len(_history(active, "x")) == 1201


def test_only_finite_numbers_are_kept() -> None:
    values = {"a": 1, "b": None, "c": float("nan"), "d": "3", "e": np.float32(0.5), "f": float("inf"), "g": True}
    assert finite_numbers(values) == {"a": 1.0, "e": 0.5, "g": 1.0}


def test_names_are_made_fit() -> None:
    assert metric_name("return (policy 0)") == "return _policy 0_"


def test_a_store_that_refuses_never_stops_training(active: ActiveRun, caplog: pytest.LogCaptureFixture) -> None:
    active.client.delete_run(active.run_id)
    active.metrics.add({"loss": 1.0}, step=1)
    with caplog.at_level(logging.WARNING):
        assert not active.metrics.flush()
    assert "1 metrics wait" in caplog.text
    active.client.restore_run(active.run_id)
    assert active.metrics.flush()
    assert _history(active, "loss") == [(1, 1.0)]


def test_after_a_failure_the_next_attempt_waits_a_minute(active: ActiveRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each attempt holds training up."""
    now, attempts = 0.0, []
    writer = MetricsWriter(active.client, active.run_id, period_seconds=5.0, clock=lambda: now)

    def gone(*_: object, **__: object) -> None:
        attempts.append(now)
        raise ConnectionError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(active.client, "log_batch", gone)
        for now in (5.0, 10.0, 30.0, 64.0, 65.0, 70.0):
            writer.add({"loss": now}, step=int(now))
    assert attempts == [5.0, 65.0]
    now = 130.0
    writer.add({"loss": now}, step=130)
    assert [step for step, _ in _history(active, "loss")] == [5, 10, 30, 64, 65, 70, 130]
    now = 135.0
    writer.add({"loss": now}, step=135)
    assert _history(active, "loss")[-1] == (135, 135.0)
