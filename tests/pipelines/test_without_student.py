"""`evaluate` and `report` work without a student; `register` says what makes one. Learning renews the run's page."""

from __future__ import annotations

import json
from typing import Any

import pytest

from meme57.hooks.one_line import OneLineError

RUN = "Pong-s1"


def test_a_run_without_a_student_is_scored_and_has_a_page(copied: Any) -> None:
    (copied.data / "06_models" / RUN / "student" / "record.json").unlink()
    (copied.data / "08_reporting" / RUN / "fidelity.json").unlink()
    copied.run_here("evaluate", "report")
    scores = json.loads((copied.data / "08_reporting" / RUN / "scores.json").read_text())
    assert {"random", "teacher"} <= set(scores["agents"])
    assert "student" not in scores["agents"]
    page = (copied.data / "08_reporting" / RUN / "report.html").read_text()
    assert "<h2>Scores</h2>" in page
    assert "The student against its teacher" not in page
    with pytest.raises(OneLineError, match="student of run 'Pong-s1' is missing: `kedro run --pipelines distill,eval"):
        copied.run_here("register")
    copied.run_here("distill")
    with pytest.raises(OneLineError, match="the scores are of another student: `kedro run --pipelines evaluate`"):
        copied.run_here("register")


def test_the_page_that_somebody_looks_at_is_renewed_while_the_run_learns(copied: Any) -> None:
    page = copied.data / "08_reporting" / RUN / "progress.html"
    page.write_text("")
    copied.run_here("learn", run={"total_frames": 13_000})
    assert "Now stopped: 13,0" in page.read_text() or "Now evaluated: 13,0" in page.read_text()
