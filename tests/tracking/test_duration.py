"""How long learning will take: only from what was measured on runs of the same settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from meme57.config import Parameters, parse_parameters
from meme57.files import write_json
from meme57.tracking.duration import in_words, learning_seconds
from meme57.tracking.run_record import new_record, record_path

GIVEN: Any = {"parent_run_id": "", "created": "2026-01-01T00:00:00+00:00", "commit": "0"}


def make(seed: int, **learner: Any) -> Parameters:
    return parse_parameters({"run": {"seed": seed, "total_frames": 1_000}, "env": {"game": "Pong"}, "learner": learner})


def measured(project: Path, parameters: Parameters, frames: int, seconds: float) -> None:
    name = parameters.run_name
    record = record_path(project, name)
    record.parent.mkdir(parents=True)
    write_json(record, new_record(parameters, GIVEN))
    curve = project / "data" / "08_reporting" / name / "learning_curve.csv"
    curve.parent.mkdir(parents=True)
    curve.write_text(f"frames,elapsed_seconds\n{frames},{seconds}\n")


def test_only_runs_of_the_same_settings_count(tmp_path: Path) -> None:
    mine = make(1)
    assert learning_seconds(tmp_path, mine) is None
    measured(tmp_path, parse_parameters({**make(7, batch_size=3).tree(), "run": {"name": "other"}}), 1_000, 1.0)
    assert learning_seconds(tmp_path, mine) is None  # another batch size
    measured(tmp_path, make(2), 500, 5.0)  # 100 frames a second
    assert learning_seconds(tmp_path, mine) == pytest.approx(10.0)
    measured(tmp_path, make(3), 600, 2.0)  # 300
    measured(tmp_path, mine, 800, 4.0)  # 200, and 200 frames are left
    assert learning_seconds(tmp_path, mine) == pytest.approx(1.0)


def test_a_run_that_has_learned_has_nothing_left(tmp_path: Path) -> None:
    measured(tmp_path, make(1), 1_000, 4.0)
    assert learning_seconds(tmp_path, make(1)) is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "about 1 s"), (40, "about 40 s"), (540, "about 9 min"), (5_400, "about 1.5 h"),
        (47 * 3_600, "about 47.0 h"), (60 * 3_600, "about 2.5 days"),
    ],
)  # fmt: skip
def test_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
