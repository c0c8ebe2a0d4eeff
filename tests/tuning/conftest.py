from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from meme57.tuning.study import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(journal=tmp_path / "study.journal", trials=tmp_path / "trials")


@pytest.fixture
def never() -> Callable[[], bool]:
    return lambda: False
