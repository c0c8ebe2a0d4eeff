"""A study's journal that was edited, cut or mixed up: the study goes on, or one line names the file and what to do."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_study import make_parameters

from meme57.errors import TuningError
from meme57.tuning.result import study_record
from meme57.tuning.storage import Leases
from meme57.tuning.study import Place, open_study, work

TRIALS = 2


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The lines of a study that is done."""
    folder = tmp_path_factory.mktemp("study")
    place = Place(folder / "study.journal", folder / "trials")
    work(make_parameters(num_trials=TRIALS), place, lambda: False)
    lines = place.journal.read_text().splitlines()
    assert len(lines) > 15
    return lines


def between(lines: list[str], line: str) -> str:
    return "\n".join([*lines[:5], line, *lines[5:], ""])


CONTENTS: dict[str, Callable[[list[str]], str | bytes]] = {
    "garbage at the end": lambda lines: "\n".join([*lines, "garbage", ""]),
    "garbage at the start": lambda lines: "\n".join(["garbage", *lines, ""]),
    "garbage between": lambda lines: between(lines, "garbage"),
    "a number": lambda lines: between(lines, "5"),
    "a list": lambda lines: between(lines, "[1]"),
    "no operation": lambda lines: between(lines, "{}"),
    "an operation of another Optuna": lambda lines: between(lines, '{"op_code": 99, "worker_id": "x"}'),
    "UTF-16": lambda lines: "\n".join(lines).encode("utf-16"),
    "bytes": lambda lines: random.Random(2).randbytes(3_000),
    "zeros": lambda lines: b"\0" * 1_000 + b"\n",
    "blank lines": lambda lines: "\n\n".join([*lines, ""]),
    "a score that is text": lambda lines: "\n".join([*lines, ""]).replace(
        '"scores":{"Corridor-s1":', '"scores":{"Corridor-s1":"x","b":'
    ),
    "no value of a finished trial": lambda lines: "\n".join(
        [line for line in lines if '"learner.batch_size"' not in line or '"op_code":5' not in line] + [""]
    ),
}


def reopened(place: Place, content: str | bytes) -> int:
    """How many trials the study has; everything that reads it was asked."""
    place.journal.write_bytes(content if isinstance(content, bytes) else content.encode())
    parameters = make_parameters(num_trials=TRIALS)
    study = open_study(parameters, place)
    if study.get_trials(deepcopy=False):
        study_record(study, parameters)
    return len(study.trials)


@pytest.mark.parametrize("content", CONTENTS)
def test_a_damaged_journal_is_one_line(place: Place, journal: list[str], content: str) -> None:
    with pytest.raises(TuningError, match=r"study\.journal .*put a copy of it back, or move it away") as caught:
        reopened(place, CONTENTS[content](journal))
    assert "\n" not in str(caught.value)


def test_lines_in_another_order_lead_to_a_study_or_to_one_line(tmp_path: Path, journal: list[str]) -> None:
    """Optuna passes over what it does not know yet, so most orders are studies with fewer facts."""
    chosen, whole = random.Random(57), 0
    for number in range(40):
        lines = journal.copy()
        if number % 2:
            i, j = chosen.sample(range(len(lines)), 2)
            lines[i], lines[j] = lines[j], lines[i]
        else:
            tree = json.loads(lines[i := chosen.randrange(len(lines))])
            tree[chosen.choice([*tree])] = chosen.choice([None, -1, "x", 10**12, [], {}])
            lines[i] = json.dumps(tree)
        folder = tmp_path / str(number)
        folder.mkdir()
        with contextlib.suppress(TuningError):
            reopened(Place(folder / "study.journal", folder / "trials"), "\n".join([*lines, ""]))
            whole += 1
        shutil.rmtree(folder)
    assert 5 < whole < 35


def test_a_trial_whose_worker_died_while_it_was_drawn_does_not_spoil_the_record(place: Place, never: Any) -> None:
    parameters = make_parameters(num_trials=1)
    work(parameters, place, never)
    study = open_study(parameters, place)
    with Leases(place.trials).study():
        trial = study.ask()
        trial.suggest_float("learner.learning_rate", 1e-4, 1e-2, log=True)
        study.tell(trial, state=study.trials[0].state.FAIL)
    record = study_record(open_study(parameters, place), parameters)
    assert [set(entry["values"]) for entry in record["trials"]] == [
        {"learner.learning_rate", "learner.batch_size"},
        {"learner.learning_rate"},
    ]
