"""What the parent of a study or a suite shows, from files that were written by hand; no store is asked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from meme57.files import write_json
from meme57.tracking.results import describe, study_results, suite_results

STUDY: dict[str, Any] = {
    "study": "a", "score": "return", "metric": "final", "frames": 3_000, "trials": [{}, {}], "best": {"score": 0.25},
}  # fmt: skip
EVIDENCE: dict[str, Any] = {
    "seeds": [101, 102], "configured": {"mean": 0.125}, "tuned": {"mean": 0.5}, "difference": {"mean": 0.375},
    "verdict": "better",
}  # fmt: skip
SUITE: dict[str, Any] = {"suite": "two", "members": [{"state": "done"}, {"state": "done"}, {"state": "failed"}]}
SCORES: dict[str, Any] = {
    "aggregates": {
        "configured": {"teacher": {"runs": 2, "statistics": {"iqm": {"value": 0.125, "interval": [0.0, 0.5]}}}},
        "large": {"teacher": {"runs": 1, "statistics": {"iqm": {"value": 0.25, "interval": None}}}},
        "broken": {"teacher": {"runs": 1, "statistics": {}}},
        "absent": {},
    }
}


def test_a_suite_shows_the_iqm_of_each_variant(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "08_reporting" / "suite-two"
    assert describe(tmp_path, "suite", "suite-two", None) == ""
    write_json(folder / "suite.json", SUITE)
    assert describe(tmp_path, "suite", "suite-two", None) == "**Suite two**: 2 of 3 runs done."
    write_json(folder / "scores.json", SCORES)
    assert describe(tmp_path, "suite", "suite-two", None).split("\n\n")[1:] == [
        "configured: IQM 12.5 % (0.0 to 50.0 %), human-normalised, n 2 runs.",
        "large: IQM 25.0 %, human-normalised, n 1 runs.",
    ]
    assert suite_results(SUITE, SCORES) == {
        "0 results/runs_done": 2, "0 results/configured_iqm": 0.125, "0 results/large_iqm": 0.25,
    }  # fmt: skip


def test_a_study_shows_the_comparison_of_this_best_trial_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "08_reporting" / "tune-a"
    assert describe(tmp_path, "study", "tune-a", None) == ""
    write_json(folder / "study.json", STUDY)
    write_json(folder / "evidence.json", EVIDENCE)
    best, compared = describe(tmp_path, "study", "tune-a", None).split("\n\n")
    assert best == "**Study a**: best of 2 trials 0.2500 (return, final), 3,000 frames."
    assert compared == "On fresh seeds: configured 0.1250, tuned 0.5000, n 2; better."
    os.utime(folder / "evidence.json", (0, 0))  # of an earlier start, whose best trial was another
    assert describe(tmp_path, "study", "tune-a", None) == best


def test_a_study_without_fresh_seeds_shows_its_best_trial() -> None:
    assert study_results(STUDY, None) == {"0 results/best_score": 0.25, "0 results/frames": 3_000}
