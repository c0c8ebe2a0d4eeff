"""The model of docs/scaling.md, with arithmetic by hand."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

MODEL = runpy.run_path(str(Path(__file__).parent.parent / "benchmarks" / "scaling_model.py"), run_name="scaling_model")


def costs(**changes):
    return MODEL["Costs"](
        **{"machine_steps_per_second": 1000.0, "answer_steps": 6400.0, "chunk_seconds": 4e-4, **changes}
    )


def test_few_machines_are_limited_by_themselves() -> None:
    few = MODEL["predict"](3, costs())
    assert (few.frames_per_second, few.limit) == (3 * 1000 * 4, "actors")


@pytest.mark.parametrize(
    ("changes", "limit", "steps"),
    [
        ({}, "taking in", 80 / 4e-4),  # 2,500 chunks a second of 80 steps
        ({"answer_seconds": 0.032}, "taking in", 1 / (4e-4 / 80 + 0.032 / 6400)),  # both halves alike: 100,000
        ({"updates_per_second": 3.8}, "learner", 3.8 * 64 / 6 * 80),  # the paper's 3,243 steps, 12,970 frames
        ({"bandwidth": 1.25e7, "bytes_per_step": 200.0}, "network in", 62_500),
        ({"bandwidth": 1.25e9, "weights_bytes": 8e7}, "network out", 1.25e9 / (8e7 / 6400)),  # 12,500 bytes a step
    ],
)
def test_many_machines_are_limited_by(changes, limit: str, steps: float) -> None:
    many = MODEL["predict"](1000, costs(**changes))
    assert many.limit == limit
    assert many.frames_per_second == pytest.approx(4 * steps)


def test_more_machines_never_give_less() -> None:
    frames = [MODEL["predict"](machines, costs(updates_per_second=20.0)).frames_per_second for machines in range(1, 60)]
    assert frames == sorted(frames)
