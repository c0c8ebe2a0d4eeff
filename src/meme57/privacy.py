"""Switching off the telemetry of the dependencies. Importing `meme57` does it, before any of them is imported.

docs/privacy.md says what each dependency would send.
"""

from __future__ import annotations

import os

NOWHERE = "http://127.0.0.1:9"
"""A port of this machine on which nothing listens."""

SWITCHES = {
    "DO_NOT_TRACK": "true",  # Kedro and Kedro-Viz take any value, MLflow only this one
    "DVC_NO_ANALYTICS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "ORT_DISABLE_TELEMETRY": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_USAGE_STATS_REPORT_URL": NOWHERE,  # else a cluster of `ray start` reports that its reports are off
}
"""Environment variables and the values that switch telemetry off."""


def switch_off() -> None:
    """Set every switch. An earlier value is replaced, so the promise holds in every environment."""
    os.environ.update(SWITCHES)
