"""`meme57 runs list`: sorting, filters, and the studies and suites below."""

from __future__ import annotations

import json
from pathlib import Path

from meme57.cli.run_list import sort_runs
from meme57.lock import hold
from meme57.tracking.overview import AgentScore, RunOverview

RUN = "Pong-s1"


def names(text: str) -> list[str]:
    return [row["name"] for row in json.loads(text)]


def test_numbers_sort_downwards_names_upwards_and_unknown_values_last() -> None:
    def run(name: str, seed: int | None, human: float | None) -> RunOverview:
        return RunOverview(name, "evaluated", seed=seed, scores={"teacher": AgentScore(0, 0, 0, 0, 1, human)})

    runs = [run("b", 3, 0.1), run("a", None, 0.5), run("d", 1, None), run("c", 2, 0.5)]
    by = lambda key, **order: "".join(run.name for run in sort_runs(runs, key, **order))  # noqa: E731
    assert by("name") == "abcd"
    assert by("name", reverse=True) == "dcba"
    assert by("human") == "acbd"
    assert by("human", reverse=True) == "bacd"
    assert by("seed") == "dcba"


def test_filters(here: Path, meme57) -> None:
    for words in (("--game", "ALE/Pong-v5"), ("--seed", "1"), ("--preset", "test"), ("--state", "evaluated")):
        assert names(meme57("runs", "list", "--json", *words).output) == [RUN]
    for words in (("--seed", "2"), ("--state", "learning")):
        assert names(meme57("runs", "list", "--json", *words).output) == []
        assert "No run fits" in meme57("runs", "list", *words).output
    for words in (("--game", "Boxing"), ("--preset", "gpu"), ("--suite", "suite-x")):
        done = meme57("runs", "list", *words)
        assert (done.exit_code, done.output.count("\n")) == (1, 1)


def test_a_table_has_preset_date_and_the_share_of_a_human(here: Path, meme57) -> None:
    scores = here / "data" / "08_reporting" / RUN / "scores.json"
    tree = json.loads(scores.read_text())
    tree["agents"]["teacher"]["human_normalised"] = {"mean": 0.123, "interval": None}
    scores.write_text(json.dumps(tree))
    heads, _, row = (line.split() for line in meme57("runs", "list").output.strip().splitlines())
    assert heads == ["run", "state", "game", "seed", "preset", "date", "frames", "teacher", "student", "human", "size"]
    assert row[:5] == [RUN, "evaluated", "Pong", "1", "test"]
    assert "12.3 %" in " ".join(row)


def test_a_run_of_before_says_no_preset(here: Path, meme57) -> None:
    record = here / "data" / "02_intermediate" / RUN / "run_record.json"
    tree = json.loads(record.read_text())
    del tree["preset"]
    record.write_text(json.dumps(tree))
    assert json.loads(meme57("runs", "list", "--json").output)[0]["preset"] is None
    assert "no run says its own" in meme57("runs", "list", "--preset", "test").output


def test_suites_follow_the_runs_and_select_them(here: Path, meme57) -> None:
    folder = here / "data" / "07_model_output" / "suite-two"
    folder.mkdir()
    for name, state in ((RUN, "done"), ("Pong-s2", "running"), ("Pong-s3", "failed")):
        (folder / f"{name}.json").write_text(json.dumps({"name": name, "state": state}))
    run, suite = json.loads(meme57("runs", "list", "--json").output)
    assert (run["kind"], suite["kind"]) == ("run", "suite")
    assert suite["counts"] == {"done": 1, "failed": 1, "stopped": 1}  # nobody works on the one that runs
    assert suite["state"] == "stopped"
    assert "1 done, 1 failed, 1 stopped" in meme57("status").output
    assert names(meme57("runs", "list", "--suite", "suite-two", "--json").output) == [RUN]
    with hold(folder):
        found = json.loads(meme57("status", "--json").output)[1]
        assert (found["state"], found["counts"]["running"]) == ("working", 1)
