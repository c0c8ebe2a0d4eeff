"""MLflow's own system metrics: processor, memory, disk, network and GPU of the machine, every ten seconds."""

from __future__ import annotations

import logging

from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

logging.getLogger("mlflow.system_metrics").setLevel(logging.ERROR)  # it tells of each start, and of a missing GPU


class SystemMetrics:
    """Measures in a thread, from the start until `close`; a failure ends it and nothing else."""

    def __init__(self, run_id: str, *, tracking_uri: str) -> None:
        self._monitor = SystemMetricsMonitor(run_id, tracking_uri=tracking_uri)
        self._monitor.start()

    def close(self) -> None:
        """End the thread, and write what it measured."""
        self._monitor.finish()
