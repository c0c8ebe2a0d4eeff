"""No test here sees the store or the environment of whoever runs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def _own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "KEDRO_ENV"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def project(make_project: Callable[[str], Any]) -> Any:
    return make_project("empty")
