"""MLflow's system metrics of a run that is long enough for one."""

from __future__ import annotations

import logging
import time

from mlflow import MlflowClient

from meme57.tracking.runs import open_run
from meme57.tracking.system_metrics import SystemMetrics

PATIENCE_SECONDS = 60


def test_processor_and_memory_are_recorded_until_the_run_closes(monkeypatch, tmp_path, caplog) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.2")
    address = f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(tracking_uri=address)
    experiment = client.create_experiment("meme57")
    active = open_run(client, experiment, run_name="a", pipeline="learn", parent_run_id=None, tags={}, parameters={})
    with caplog.at_level(logging.INFO):
        active.system_metrics = SystemMetrics(active.run_id, tracking_uri=address)
        end = time.monotonic() + PATIENCE_SECONDS
        while not client.get_run(active.run_id).data.metrics and time.monotonic() < end:
            time.sleep(0.2)
        active.close("FINISHED")
    metrics = client.get_run(active.run_id).data.metrics
    assert metrics["system/cpu_utilization_percentage"] >= 0
    assert metrics["system/system_memory_usage_megabytes"] > 0
    assert not client.get_run(active.parent_run_id).data.metrics
    assert not caplog.records
