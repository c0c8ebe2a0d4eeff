"""What a suite tells: rows, aggregates, comparisons and its page, with games that have no published scores."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import numpy as np
import pytest

from meme57.evaluation.beside_published import OURS, beside_published
from meme57.evaluation.statistics import human_normalised
from meme57.evaluation.suite_scores import COLUMNS, by_game, complete_games, result_rows, suite_scores
from meme57.report.suite_figures import curve_grids, curves_figure, games_figure, suite_figures
from meme57.report.suite_page import suite_page


def test_a_row_for_every_agent_of_every_member_that_is_done(suite_record: dict[str, Any]) -> None:
    rows = result_rows(suite_record["members"])
    assert len(rows) == 11 * 4  # one of 12 members failed
    assert all(set(row) == set(COLUMNS) for row in rows)
    [row] = [row for row in rows if (row["run"], row["agent"]) == ("Pong-changed-s1", "teacher")]
    # level 0.4 + 0.1 + 0.7 = 1.2: -20.7 + 1.2 * 35.3 = 21.66
    assert row["return"] == pytest.approx(21.66)
    assert row["human_normalised"] == pytest.approx(1.2)
    assert (row["protocol"], row["frames"], row["episodes"]) == ("sticky", 20_000, 2)
    corridor = [row for row in rows if row["game"] == "Corridor"]
    assert corridor
    assert all(row["human_normalised"] is None and row["record_normalised"] is None for row in corridor)


def test_aggregates_by_hand_and_without_the_game_that_has_no_scores(
    suite_record: dict[str, Any], suite_table: Any, suite_settings: dict[str, Any]
) -> None:
    _, scores = suite_table
    assert scores["without_reference"] == ["Corridor"]
    changed = scores["aggregates"]["changed"]["teacher"]
    # Pong and Breakout: seeds at 1.2 and 1.3 of human
    assert (changed["games"], changed["runs"], changed["above_human"]) == (2, 6, 2)
    assert changed["statistics"]["mean"]["value"] == pytest.approx(1.25)
    assert changed["statistics"]["capped_mean"]["value"] == pytest.approx(1.0)
    baseline = scores["aggregates"]["baseline"]["teacher"]["statistics"]
    # Pong's seed 1 failed: Pong 0.6, Breakout (0.5 + 0.6) / 2
    assert baseline["mean"]["value"] == pytest.approx((0.6 + 0.55) / 2)
    assert baseline["median"]["value"] == pytest.approx(0.575)
    assert baseline["optimality_gap"]["value"] == pytest.approx((0.4 + 0.5 + 0.4) / 3)
    # Two games, seeds 0.1 apart: each mean has variance 0.005 / 2 and 1 degree of freedom, their mean 0.00125 and 2
    reach = 4.302653 * 0.00125**0.5
    assert changed["statistics"]["mean"]["interval"] == pytest.approx([1.25 - reach, 1.25 + reach], rel=1e-5)
    assert baseline["mean"]["interval"] is None  # Pong has one run
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores


def test_a_better_variant_is_found_on_every_game(suite_table: Any) -> None:
    _, scores = suite_table
    [found] = [item for item in scores["comparisons"] if item["agent"] == "teacher"]
    assert (found["variant"], found["against"], found["games"]) == ("changed", "baseline", 3)  # Corridor counts here
    assert found["probability"] == 1.0
    assert found["interval"] is None  # Pong's baseline has one run
    assert found["runs"] == [6, 5]
    assert "random" not in {item["agent"] for item in scores["comparisons"]}


def test_other_protocols_are_not_compared(suite_record: dict[str, Any], suite_settings: dict[str, Any]) -> None:
    members = copy.deepcopy(suite_record["members"])
    for member in members:
        if member["variant"] == "changed":
            member["scores"]["protocol"]["name"] = "another"
    scores = suite_scores(result_rows(members), suite_record["variants"], suite_record["games"], **suite_settings)
    assert {item["reason"] for item in scores["comparisons"]} == {
        "their protocols differ: set evaluate.protocol to a published one"
    }


def page_of(record: dict[str, Any], settings: dict[str, Any]) -> str:
    import pandas as pd

    rows = result_rows(record["members"])
    scores = suite_scores(rows, record["variants"], record["games"], **settings)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return suite_page(record, scores, table, suite_figures(record, scores, table, **settings))


def test_the_page_has_every_part_and_no_markup_from_outside(
    suite_record: dict[str, Any], suite_settings: dict[str, Any]
) -> None:
    page = page_of(suite_record, suite_settings)
    for words in (
        "Suite three", "11 of 12 runs done", "Protocol sticky", "1 member failed", "Over games and seeds",
        "Probability of improvement", "changed over baseline", "Every game", "Performance profile",
        "n 6 runs", "n 6 and 5 runs", "n 2 episodes", "n 2 and 2 seeds", "a dash where a game has one",
        "hence not in these numbers: Corridor", 'href="../Pong-changed-s1/report.html"',
    ):  # fmt: skip
        assert words in page, words
    assert "ReplayError: &lt;b&gt;broken&lt;/b&gt; &amp; gone" in page
    assert "<b>broken" not in page


def test_a_runs_point_lies_on_its_own_variants_bar() -> None:
    """Bars of a game lie side by side; points without a group would all lie on the middle one."""
    rows = [
        {"game": "Pong", "variant": variant, "human_normalised": score, "cut_short": 0}
        for variant, score in (("a", 0.1), ("a", 0.2), ("b", 0.5), ("c", 0.9))
    ]
    figure = games_figure(rows, ["a", "b", "c"])
    assert (figure.layout.barmode, figure.layout.scattermode) == ("group", "group")
    assert [(trace.type, trace.offsetgroup, len(trace.x)) for trace in figure.data] == [
        ("bar", "a", 1), ("scatter", "a", 2), ("bar", "b", 1),
        ("scatter", "b", 1), ("bar", "c", 1), ("scatter", "c", 1),
    ]  # fmt: skip


def test_every_variant_has_a_line_of_its_own() -> None:
    variants = [f"v{number}" for number in range(14)]
    curve = [{"frames": 1_000.0 * step, "episodes/return": float(step)} for step in range(1, 5)]
    members = [{"game": "Pong", "variant": variant, "curve": curve} for variant in variants]
    figure = curves_figure(members, variants, 0.95)
    lines = [(trace.line.color, trace.line.dash) for trace in figure.data]
    assert len(set(lines)) == len(variants)
    [label] = [found.text for found in figure.layout.annotations if "v13" in found.text]
    assert len(set(re.findall(r'color:(#\w+)">(.)<', label))) == len(variants)


def test_games_without_reference_scores_alone_are_told_as_they_are(
    suite_record: dict[str, Any], suite_settings: dict[str, Any]
) -> None:
    record = {**suite_record, "games": ["Corridor"]}
    record["members"] = [member for member in suite_record["members"] if member["game"] == "Corridor"]
    page = page_of(record, suite_settings)
    assert "No run of this suite has a human-normalised score" in page
    assert "Probability of improvement" in page
    assert 'id="plot-curves"' in page
    assert 'id="plot-profile"' not in page


@pytest.mark.parametrize("one_seed", [False, True])  # the others would be the ones whose games were short
def test_games_that_were_cut_are_in_no_normalised_number(
    suite_record: dict[str, Any], suite_settings: dict[str, Any], one_seed: bool
) -> None:
    record = copy.deepcopy(suite_record)
    for member in record["members"]:
        if member["state"] == "done" and member["game"] == "Pong" and (member["seed"] == 2 or not one_seed):
            for summary in member["scores"]["agents"].values():
                summary["cut_short"] = summary["episodes"]
    before, after = (
        suite_scores(result_rows(of["members"]), list(of["variants"]), of["games"], **suite_settings)
        for of in (suite_record, record)
    )
    for variant in record["variants"]:
        whole, part = (scores["aggregates"][variant]["teacher"] for scores in (before, after))
        assert (whole["games"], whole["missing"], bool(whole["statistics"])) == (2, [], True)
        assert (part["games"], part["missing"], part["statistics"]) == (1, ["Pong"], {})
    assert not any("games were cut" in note for note in before["notes"])
    assert any(note.startswith("Pong: games were cut before their end") for note in after["notes"])


def test_a_game_with_a_run_that_was_cut_is_in_no_table_or_figure_of_humans(
    suite_record: dict[str, Any], suite_settings: dict[str, Any]
) -> None:
    rows = [{**row} for row in result_rows(suite_record["members"])]
    assert complete_games(rows).keys() == {"Pong", "Breakout"}
    next(row for row in rows if row["game"] == "Pong" and row["agent"] == "teacher")["human_normalised"] = None
    assert complete_games(rows).keys() == {"Breakout"}
    assert by_game(rows, "human_normalised").keys() == {"Pong", "Breakout"}
    variant = rows[0]["variant"]
    beside = beside_published(rows, ["Pong", "Breakout"], variant, ["mrq_2M"], confidence=0.95)
    assert beside is not None
    assert beside["missing"] == []  # of returns
    assert beside["columns"][OURS]["over_games"] is None


def test_nothing_is_said_over_games_while_one_is_missing(
    suite_record: dict[str, Any], suite_settings: dict[str, Any]
) -> None:
    record = copy.deepcopy(suite_record)
    record["games"] = ["Freeway", *record["games"]]
    page = page_of(record, suite_settings)
    assert "changed has no numbers over games, because these have no human-normalised score (yet):\nFreeway." in page
    assert ": IQM" not in page
    assert "No run of this suite has a human-normalised score" not in page
    assert 'id="plot-profile"' not in page
    assert 'id="plot-games"' in page
    assert "Probability of improvement" in page  # it ranks runs within the games that are there


def test_a_suite_of_which_nothing_is_done_has_a_page(
    suite_record: dict[str, Any], suite_settings: dict[str, Any]
) -> None:
    failed = [member for member in suite_record["members"] if member["state"] == "failed"]
    page = page_of({**suite_record, "members": failed}, suite_settings)
    assert "0 of 1 runs done" in page


def test_the_video_pinball_convention_is_said(suite_record: dict[str, Any], suite_settings: dict[str, Any]) -> None:
    member = copy.deepcopy(suite_record["members"][1])
    member["game"] = "VideoPinball"
    scores = suite_scores(result_rows([member]), ["changed"], ["VideoPinball"], **suite_settings)
    assert "random score is 0.0 here" in scores["notes"][0]
    assert human_normalised(17667.9, "VideoPinball") == pytest.approx(1.0)
    others = 16256.9  # which others take for random play
    assert human_normalised(others, "VideoPinball") == pytest.approx(0.920, abs=1e-3)


def test_curves_of_seeds_share_a_grid_that_ends_with_the_shortest(suite_record: dict[str, Any]) -> None:
    members = copy.deepcopy([member for member in suite_record["members"] if member["game"] == "Breakout"])
    members[0]["curve"] = members[0]["curve"][:10]
    found = curve_grids(members)["Breakout"]
    ends = {variant: frames[-1] for variant, (frames, _) in found.items()}
    assert ends == {"baseline": 10_000, "changed": members[1]["curve"][-1]["frames"]}
    assert {variant: len(seeds) for variant, (_, seeds) in found.items()} == {"baseline": 2, "changed": 2}
    last = [point["episodes/return"] for point in members[0]["curve"]][-1]
    assert found["baseline"][1][0][-1] == pytest.approx(last)
    assert np.isfinite(np.concatenate([np.concatenate(seeds) for _, seeds in found.values()])).all()


def test_a_row_has_its_summarys_interval(suite_record: dict[str, Any]) -> None:
    members = {member["name"]: member for member in suite_record["members"]}
    for row in result_rows(suite_record["members"]):
        summary = members[row["run"]]["scores"]["agents"][row["agent"]]
        assert [row["return_low"], row["return_high"]] == summary["interval"]
        assert row["return_low"] < row["return"] < row["return_high"]
