"""Switches off the telemetry of the dependencies. Importing `meme57` calls it, before any of them is imported.

docs/privacy.md says what each dependency would send.
"""

from __future__ import annotations

import os

NOWHERE = "http://127.0.0.1:9"
"""A port of this machine that nobody listens on."""

SWITCHES = {
    "DO_NOT_TRACK": "true",  # Kedro and Kedro-Viz take any value, MLflow only this one
    "DVC_NO_ANALYTICS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "ORT_DISABLE_TELEMETRY": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_USAGE_STATS_REPORT_URL": NOWHERE,  # a cluster that `ray start` made reports that reports are off
}
"""Environment variables and the values that switch telemetry off."""


def switch_off() -> None:
    """Sets every switch. An earlier value is replaced: the promise holds whatever the environment said."""
    os.environ.update(SWITCHES)
