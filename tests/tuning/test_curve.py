"""The number that a trial makes of a curve, by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from meme57.tuning.curve import Curve, summarise


def test_area_under_the_curve_weighs_points_by_their_frames() -> None:
    # 1.0 for 100 frames, 3.0 for 300: (100 + 900) / 400
    assert summarise([(100, 1.0), (400, 3.0)], "auc", frames=400) == pytest.approx(2.5)
    # Only 50 of the second point's 300 frames: (100 + 150) / 150
    assert summarise([(100, 1.0), (400, 3.0)], "auc", frames=150) == pytest.approx(250 / 150)


def test_final_is_the_last_quarter() -> None:
    # Frames 300 to 400: 50 of the second point, 50 of the third.
    assert summarise([(200, 9.0), (350, 1.0), (400, 3.0)], "final", frames=400) == pytest.approx(2.0)
    assert summarise([(400, 3.0)], "final", frames=400) == 3.0


def test_without_a_point_in_the_last_quarter_the_last_one_counts() -> None:
    assert summarise([(100, 1.0), (200, 5.0)], "final", frames=400) == 5.0
    assert summarise([], "final", frames=400) is None


def test_a_curve_is_kept_and_a_resumed_run_writes_over_what_it_repeats(tmp_path: Path) -> None:
    curve = Curve(tmp_path / "scores.json")
    for frames in (110, 210, 310):
        curve.add(frames, frames / 100)
    curve.add(320, float("nan"))
    again = Curve(tmp_path / "scores.json")
    again.add(205, 7.0)
    assert Curve(tmp_path / "scores.json").points == [(110, 1.1), (205, 7.0)]


def test_a_resumed_run_has_no_points_of_what_a_kill_lost(tmp_path: Path) -> None:
    """Its first own point may lie far beyond its checkpoint."""
    curve = Curve(tmp_path / "scores.json")
    for frames in (80, 100, 120, 140):
        curve.add(frames, 1.0)
    again = Curve(tmp_path / "scores.json")
    again.drop_after(100)
    assert again.until(140, slack=20) == [(80, 1.0), (100, 1.0)]
    again.add(160, 2.0)
    assert Curve(tmp_path / "scores.json").points == [(80, 1.0), (100, 1.0), (160, 2.0)]


def test_a_look_back_sees_what_was_seen_then(tmp_path: Path) -> None:
    curve = Curve(tmp_path / "scores.json")
    for frames in (110, 210, 310):
        curve.add(frames, 1.0)
    assert [at for at, _ in curve.until(200, slack=100)] == [110, 210]
    assert [at for at, _ in curve.until(100, slack=5)] == []


def test_edges_of_the_curve_by_hand(tmp_path: Path) -> None:
    curve = Curve(tmp_path / "scores.json")
    curve.add(4, 1.0)
    curve.add(14, 2.0)
    assert curve.until(10, slack=4) == [(4, 1.0)]  # 14 is a whole round beyond
    # the last quarter of 10 frames begins at 7.5: (0.5 x 2 + 2 x 5) / 2.5
    assert summarise([(8, 2.0), (10, 5.0)], "final", frames=10) == 4.4
