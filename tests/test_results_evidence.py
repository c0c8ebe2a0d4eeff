"""benchmarks/evidence.py: a suite's members become rows of an experiment's data, from small data by hand."""

from __future__ import annotations

import csv
import runpy
from pathlib import Path
from typing import Any

EVIDENCE = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "evidence.py"), run_name="evidence")
COLUMNS = (
    "frames",
    "elapsed_seconds",
    "episodes/finished",
    "episodes/return",
    "policy_episodes/0",
    "episodes/return_exploit",
)


def member(*points: tuple[str, ...], seed: int = 1) -> dict[str, Any]:
    curve = [dict(zip(COLUMNS, point, strict=True)) for point in points]
    return {"game": "Pong", "variant": "b", "seed": seed, "commit": "abc", "learning_curve": curve}


def test_stretches_that_were_tried_weigh_by_episodes() -> None:
    done = member(
        ("100000", "1", "", "", "", ""),  # no episode ended yet
        ("200000", "2", "1", "-21", "0", ""),
        ("250000", "3", "3", "-19", "1", "-20"),
        ("250001", "4", "2", "5", "0", ""),
        ("500000", "9.6", "0", "", "0", ""),
        ("600000", "11", "9", "9", "9", "9"),  # a stretch that was not finished
    )
    rows = list(EVIDENCE["choice_rows"]([done], "a=1"))
    told = [(row["frames"], row["seconds"], row["episodes"], row["return"], row["episodes_exploit"]) for row in rows]
    assert told == [(250_000, 3, 4, "-19.50", 1), (500_000, 10, 2, "5.00", 0)]
    assert [row["return_exploit"] for row in rows] == ["-20.00", ""]
    assert {(row["game"], row["settings"], row["seed"], row["commit"]) for row in rows} == {("Pong", "a=1", 1, "abc")}


def merged(path: Path, key: tuple[str, ...], *rows: dict[str, Any]) -> list[tuple[str, ...]]:
    EVIDENCE["merge"](path, (*key, "return"), key, rows)
    return [tuple(row.values()) for row in csv.DictReader(path.read_text().splitlines())]


def test_rows_of_other_members_stay_and_those_of_the_same_are_replaced(tmp_path) -> None:
    key, path = EVIDENCE["MEMBER"], tmp_path / "suite.csv"
    merged(path, key, *({"game": "Pong", "variant": "a", "seed": seed, "return": 1} for seed in (10, 2)))
    new = ({"game": "Pong", "variant": "a", "seed": 10, "return": value} for value in (7, 8))
    assert merged(path, key, *new) == [
        ("Pong", "a", "2", "1"),
        ("Pong", "a", "10", "7"),
        ("Pong", "a", "10", "8"),
    ]


def test_what_was_tried_stays_in_the_order_of_trying(tmp_path) -> None:
    key, path = EVIDENCE["TRIED"], tmp_path / "choices.csv"
    who = {"game": "Pong", "seed": 1, "commit": "abc", "return": 0}
    merged(path, key, {**who, "settings": "b=1"})
    assert merged(path, key, {**who, "settings": "a=1"}) == [
        ("Pong", "b=1", "1", "abc", "0"),
        ("Pong", "a=1", "1", "abc", "0"),
    ]


def test_a_curve_has_the_greedy_return_where_a_checkpoint_measured_it() -> None:
    columns = (*COLUMNS, "health/trace_length_steps", "health/policy_churn", "evaluation/return")
    points = [("100", "1", "2", "5", "1", "4", "3", "0.1", ""), ("200", "2", "1", "6", "1", "5", "3", "0.1", "7.25")]
    curve = [dict(zip(columns, point, strict=True)) for point in points]
    rows = list(EVIDENCE["curve_rows"]([{"game": "Pong", "variant": "b", "seed": 1, "learning_curve": curve}]))
    assert [row["greedy_return"] for row in rows] == ["", 7.25]
    without = [{name: value for name, value in point.items() if name != "evaluation/return"} for point in curve]
    [first, _] = EVIDENCE["curve_rows"]([{"game": "Pong", "variant": "b", "seed": 1, "learning_curve": without}])
    assert first["greedy_return"] == ""
