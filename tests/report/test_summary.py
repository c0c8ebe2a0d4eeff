"""The table that a run ends with: every agent, its interval, and which version became what."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from meme57.evaluation.statistics import summarise_returns
from meme57.report.summary import print_study_summary, print_summary

RETURNS = {"random": [-21.0, -20.4], "teacher": [4.6, 14.6], "student": [2.0, 4.0]}


def scores(game: str, reference: dict[str, float] | None) -> dict[str, Any]:
    agents = {
        agent: summarise_returns(returns, game, confidence=0.9, repetitions=50, seed=0)
        for agent, returns in RETURNS.items()
    }
    return {
        "game": game, "frames": 1_234_567, "run": f"{game}-s1", "confidence": 0.9, "agents": agents,
        "reference": reference,
    }  # fmt: skip


def version(name: str, *, champion: bool) -> dict[str, Any]:
    return {"model": name, "version": "3", "champion": champion, "reason": f"why {name}"}


def rows(text: str) -> dict[str, list[str]]:
    """First cell -> the other cells."""
    table = [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines() if line[:1] == "│"]
    return {first: rest for first, *rest in table}


def printed(scores: dict[str, Any], versions: dict[str, Any], report: Path) -> str:
    console = Console(width=140, record=True, force_terminal=False)
    print_summary(scores, versions, report=report, console=console)
    return console.export_text()


def test_table_has_every_agent_with_interval_and_version() -> None:
    versions = {
        "teacher": version("meme57-pong", champion=True),
        "student": version("meme57-pong-student", champion=False),
    }
    report = Path("/somewhere/" + "deep/" * 30 + "report.html")
    text = printed(scores("Pong", {"human": 14.6, "random": -20.7}), versions, report)
    assert "Pong after 1,234,567 frames (Pong-s1)" in text
    assert "90 %" in text
    table = rows(text)
    assert list(table) == ["random", "human", "teacher", "student"]
    assert table["random"][0] == "-20.7"
    assert table["random"][3] == "0.0 %"  # its mean is the reference's random play
    assert table["human"] == ["14.6", "published", "", "100 %", ""]
    # (9.6 + 20.7) / (14.6 + 20.7) = 0.858; half of the 10 points between the two, times t(1) = 6.3138 at 90 %: 31.57
    assert table["teacher"] == ["9.6", "-22.0 to 41.2", "2", "85.8 %", "meme57-pong v3 @champion"]
    assert table["student"] == ["3.0", "-3.3 to 9.3", "2", "67.1 %", "meme57-pong-student v3 @challenger"]
    assert "same return" not in text
    assert "teacher: why meme57-pong" in text
    assert "student: why meme57-pong-student" in text
    assert f"Open the report:   {report}" in text.splitlines()  # on one line, to be clicked or copied
    assert "meme57 ui" in text


def test_game_without_reference_scores_has_no_human_row() -> None:
    table = rows(printed(scores("Corridor", None), {}, Path("report.html")))
    assert list(table) == ["random", "teacher", "student"]
    assert table["teacher"] == ["9.6", "-22.0 to 41.2", "2", "no reference", ""]


def test_games_that_were_cut_have_no_human_normalised_score() -> None:
    """`--env test` cuts games at 600 frames; random play was once said to be 53.7 % of a human by that."""
    cut = scores("Pong", {"human": 14.6, "random": -20.7}) | {"cut_at": 600}
    cut["agents"]["teacher"] = summarise_returns(
        RETURNS["teacher"], "Pong", confidence=0.9, repetitions=50, seed=0, cut_short=1
    )
    text = printed(cut, {}, Path("report.html"))
    table = rows(text)
    assert (table["teacher"][3], table["student"][3]) == ("-", "67.1 %")
    assert "Games were cut at 600 frames (teacher 1 of 2)." in " ".join(text.split())
    assert "Games were cut" not in printed(scores("Pong", None), {}, Path("report.html"))


def test_where_all_games_were_cut_the_human_is_left_out() -> None:
    cut = scores("Pong", {"human": 14.6, "random": -20.7}) | {"cut_at": 600}
    cut["agents"] = {
        agent: summarise_returns(returns, "Pong", confidence=0.9, repetitions=50, seed=0, cut_short=2)
        for agent, returns in RETURNS.items()
    }
    text = printed(cut, {}, Path("report.html"))
    assert {agent: cells[3] for agent, cells in rows(text).items()} == dict.fromkeys(RETURNS, "-")
    assert "100 %" not in text


def test_one_return_in_all_episodes_is_said_not_to_be_certainty() -> None:
    judged = scores("Pong", None)
    judged["agents"]["random"] = summarise_returns([-21.0] * 32, "Pong", confidence=0.9, repetitions=50, seed=0)
    judged["agents"]["teacher"] = summarise_returns([5.0], "Pong", confidence=0.9, repetitions=50, seed=0)
    text = printed(judged, {}, Path("report.html"))
    assert rows(text)["random"][:3] == ["-21.0", "-21.0 to -21.0", "32"]
    assert rows(text)["teacher"][:3] == ["5.0", "-", "1"]
    assert "All episodes had the same return: random." in text
    assert "nothing about other games or other seeds" in text


def test_it_prints_to_standard_output_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(scores("Pong", None), {}, report=Path("report.html"))
    captured = capsys.readouterr()
    assert "teacher" in captured.out
    assert captured.err == ""


def test_the_protocol_stands_under_the_table_with_what_differs() -> None:
    judged = scores("Pong", None)
    judged["protocol"] = {
        "protocol": "sticky",
        "departures": ["6 actions (the minimal set), the protocol has 18"],
        "changed_since_training": {"noop_max": {"training": 30, "evaluation": 0}},
    }
    judged["agents"]["bandit_policy"] = judged["agents"]["teacher"]
    text = " ".join(printed(judged, {}, Path("report.html")).split())
    assert "protocol sticky, but 6 actions (the minimal set), the protocol has 18" in text
    assert "different from training: noop max 0 (training 30)" in text
    assert list(rows(printed(judged, {}, Path("report.html")))) == ["random", "teacher", "bandit's policy", "student"]


RECORD = {
    "study": "Pong", "frames": 1_200_000, "score": "human-normalised", "metric": "final", "trials": [{}] * 30,
    "best": {"trial": 7, "score": 0.31256}, "trust": {"verdict": "better than a constant", "sampler": "gp"},
}  # fmt: skip
EVIDENCE = {
    "seeds": [101, 102, 103], "configured": {"mean": 0.21}, "tuned": {"mean": 0.25}, "verdict": "no difference shown",
    "difference": {"mean": 0.04, "interval": [-0.01, 0.09], "confidence": 0.96},
}  # fmt: skip


def study_text(evidence, record=RECORD) -> str:
    console = Console(record=True, width=80, file=io.StringIO())
    print_study_summary(record, evidence, page=Path("report.html"), console=console)
    return console.export_text()


def test_a_study_ends_with_both_sides_and_what_their_difference_shows() -> None:
    text = study_text(EVIDENCE)
    assert "Study Pong: 30 trials, 1,200,000 frames" in text
    found = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if "│" in line]
    assert found == [
        ["best trial (7), on its own seeds", "0.3126", "", ""],
        ["configured, on fresh seeds", "0.2100", "", "3"],
        ["tuned, on fresh seeds", "0.2500", "", "3"],
        ["difference", "0.0400", "-0.0100 to 0.0900 (96 %)", "3"],
    ]
    assert "tuned beside configured: no difference shown" in text
    assert "model of the scores: better than a constant" in text
    assert "Train with it:     kedro run --env tuned-Pong" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_study_of_cut_games_says_why_its_score_is_the_return() -> None:
    text = " ".join(study_text(None, {**RECORD, "score": "return", "cut_at": 600}).split())
    assert "score: return, final" in text
    assert "Games were cut at 600 frames. Published scores are of whole games, so the score is the return" in text
    assert "Games were cut" not in study_text(None)


def test_a_study_without_fresh_seeds_says_what_its_score_is() -> None:
    text = study_text(None)
    assert "the best of many noisy trials scores too high" in text
    assert "difference" not in text
    one = study_text({**EVIDENCE, "seeds": [101], "difference": {"mean": 0.04, "interval": None, "confidence": 0.96}})
    assert "│ difference                       │ 0.0400 │        - │ 1 │" in one
