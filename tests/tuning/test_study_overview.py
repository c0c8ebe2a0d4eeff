"""What `meme57 status` says of a study: trials by state, the best score, whether a process is at it."""

from __future__ import annotations

from pathlib import Path

import pytest
from optuna.trial import TrialState
from tiny_study import make_parameters

from meme57.files import write_json
from meme57.tuning.overview import studies
from meme57.tuning.storage import Leases
from meme57.tuning.study import Place, open_study

NAME = "tune-small"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "data" / "07_model_output" / NAME / "study.journal", tmp_path / "data" / "06_models" / NAME)


def test_a_study_counts_its_trials_and_names_its_best_score(tmp_path: Path, place: Place) -> None:
    assert studies(tmp_path) == []
    study = open_study(make_parameters(), place)
    for score in (0.25, 0.75):
        study.tell(study.ask(), score)
    study.tell(study.ask(), state=TrialState.FAIL)
    running = study.ask()
    before = sorted(tmp_path.rglob("*"))
    with Leases(place.trials).take(running.number):
        [found] = studies(tmp_path)
        assert (found.name, found.kind, found.state) == (NAME, "study", "working")
        assert found.counts == {"done": 2, "failed": 1, "running": 1}
    [found] = studies(tmp_path)
    assert (found.state, found.counts) == ("stopped", {"done": 2, "failed": 1, "stopped": 1})
    assert found.score == 0.75
    assert {path for path in sorted(tmp_path.rglob("*")) if path not in before} <= set(place.trials.glob("*.lock"))
    study.tell(running, 0.5)
    page = tmp_path / "data" / "08_reporting" / NAME / "report.html"
    page.parent.mkdir(parents=True)
    page.write_text("")
    [found] = studies(tmp_path)
    assert (found.state, found.page, found.changed is not None) == ("done", page, True)


def test_a_study_in_a_database_is_known_by_its_record(tmp_path: Path) -> None:
    path = tmp_path / "data" / "08_reporting" / NAME / "study.json"
    path.parent.mkdir(parents=True)
    write_json(path, {"states": {"COMPLETE": 4, "PRUNED": 1, "FAIL": 0}, "best": {"score": 1.5}})
    [found] = studies(tmp_path)
    assert (found.counts, found.score) == ({"done": 4, "pruned": 1}, 1.5)


def test_a_damaged_journal_is_a_note(tmp_path: Path, place: Place) -> None:
    open_study(make_parameters(), place)
    place.journal.write_text("{\n[\n{}\n")
    [found] = studies(tmp_path)
    assert found.state == "damaged"
    assert found.note
