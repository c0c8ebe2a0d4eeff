"""The figure of `meme57 plot`: which runs share a line, its band, its reference lines."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from meme57.report.compared import RETURN, TrainedRun, compared_page, curves_by_line

FRAMES = (1_000.0, 2_000.0, 3_000.0)


def run(name: str, seed: int, returns: tuple[float, ...], game: str = "Pong", **learner: Any) -> TrainedRun:
    rows = [{"frames": at, RETURN: value, "episodes/finished": 2.0} for at, value in zip(FRAMES, returns, strict=False)]
    return TrainedRun(name, game, seed, {"learner": learner, "seed": seed}, rows, 108_000)


THREE = [run("Pong-s1", 1, (-20.0, -10.0, 1.0)), run("Pong-s2", 2, (-20.0, -11.0, 2.0)), run("b", 3, (0.0, 0.0, 6.0))]


def figure_of(page: str) -> dict[str, Any]:
    found = re.search(r'id="figures">(.*?)</script>', page, re.S)
    assert found
    figure: dict[str, Any] = json.loads(found[1])["curves"]
    return figure


def lines(page: str) -> dict[str, dict[str, Any]]:
    return {trace["name"]: trace for trace in figure_of(page)["data"] if "name" in trace}


def values(trace: dict[str, Any]) -> Any:
    y = trace["y"]
    if isinstance(y, dict):
        return np.frombuffer(base64.b64decode(y["bdata"]), y["dtype"])
    return np.asarray(y)


def test_runs_that_differ_in_their_seed_alone_share_a_line_with_students_interval() -> None:
    page, text = compared_page(THREE, by_seed=True, published=[])
    # mean of 1, 2 and 6 is 3; the sample variance is (4 + 1 + 9) / 2 = 7; t(2, 0.975) = 4.302653
    reach = 4.302653 * np.sqrt(7 / 3)
    assert text == [f"Pong on Pong: 3.0 [{3 - reach:,.1f}, {3 + reach:,.1f}], n 3, at 3,000 frames"]
    line = values(lines(page)["Pong"])
    assert line[-1] == pytest.approx(3.0)
    band = values(next(trace for trace in figure_of(page)["data"] if trace.get("fill") == "toself"))
    assert band[: line.size][-1] == pytest.approx(3 + reach)  # the upper edge, then the lower one backwards
    assert band[line.size] == pytest.approx(3 - reach)


def test_other_settings_and_other_games_have_lines_of_their_own() -> None:
    tuned = [run("Pong-fast-s1", 1, (0.0,), learning_rate=1.0), run("Pong-fast-s2", 2, (2.0,), learning_rate=1.0)]
    other = run("Boxing-s1", 1, (5.0,), game="Boxing")
    labels = [member["variant"] for member in curves_by_line([*THREE, *tuned, other], by_seed=True)]
    assert labels == ["Pong", "Pong", "Pong", "Pong-fast", "Pong-fast", "Boxing"]


def test_one_name_for_two_configurations_keeps_the_seed() -> None:
    pair = [run("Pong-s1", 1, (0.0,), learning_rate=1.0), run("Pong-s2", 2, (0.0,), learning_rate=2.0)]
    assert [member["variant"] for member in curves_by_line(pair, by_seed=True)] == ["Pong-s1", "Pong-s2"]


def test_a_line_a_run_ends_where_its_run_ends_and_has_no_band() -> None:
    short = run("Pong-s4", 4, (-3.0,))
    page, text = compared_page([THREE[0], short], by_seed=False, published=[])
    assert text == ["Pong-s1 on Pong: 1.0, n 1, at 3,000 frames", "Pong-s4 on Pong: -3.0, n 1, at 1,000 frames"]
    assert not [trace for trace in figure_of(page)["data"] if trace.get("fill") == "toself"]
    assert "One run has no interval over seeds" in page


def test_published_scores_are_lines_or_named_at_the_edge() -> None:
    page, _ = compared_page(THREE, by_seed=True, published=["muesli_200M", "dreamerv3_200M"])
    figure = figure_of(page)
    assert sorted(line["y0"] for line in figure["layout"]["shapes"]) == [-20.7, 14.6, 20.0, 20.4]
    texts = [note["text"] for note in figure["layout"]["annotations"]]
    assert {"random -20.7", "human 14.6", "muesli 200M 20", "dreamerv3 200M 20.4"} <= set(texts)
    far = [replace(THREE[0], rows=[{"frames": 1.0, RETURN: -2_000.0}])]
    notes = figure_of(compared_page(far, by_seed=True, published=["muesli_200M", "dreamerv3_200M"])[0])["layout"]
    shifts = {note["text"].split(" ")[0]: note.get("yshift", 0) for note in notes["annotations"][1:]}
    assert shifts == {"random": 0, "human": 0, "muesli": -16, "dreamerv3": -32}  # one below the other
    far = [replace(THREE[0], rows=[{"frames": 1.0, RETURN: -2_000.0}])]
    texts = [
        note["text"] for note in figure_of(compared_page(far, by_seed=True, published=[])[0])["layout"]["annotations"]
    ]
    assert "human 14.6, above this plot" in texts


def test_games_that_a_run_cuts_have_no_published_scores() -> None:
    page, _ = compared_page([THREE[0], replace(THREE[1], max_episode_frames=600)], by_seed=False, published=[])
    assert "shapes" not in figure_of(page)["layout"]


def test_two_games_are_two_panels_each_with_its_own_scores() -> None:
    page, _ = compared_page([THREE[0], run("Boxing-s1", 1, (5.0, 9.0), game="Boxing")], by_seed=False, published=[])
    scores = {(line["yref"], line["y0"]) for line in figure_of(page)["layout"]["shapes"]}
    assert scores == {("y", -20.7), ("y", 14.6), ("y2", 0.1), ("y2", 12.1)}
