"""A suite on real games: its files and runs, what is skipped, what fails alone, and what a kill leaves."""

from __future__ import annotations

import json
import logging
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from meme57.config import parse_parameters
from meme57.config.members import Member, member_settings, suite_members
from meme57.errors import Interrupted, RunConflictError
from meme57.files import read_json, write_json
from meme57.hooks.one_line import OneLineError
from meme57.pipelines import FLOW
from meme57.pipelines.suite.member import Task, run_member
from meme57.pipelines.suite.nodes import _task, check_members
from meme57.tracking.runs import KIND, PARENT
from meme57.tracking.trials import StudyRun

ROOT = Path(__file__).parents[2]
TINY: dict[str, Any] = {
    "run": {"total_frames": 2_400, "checkpoint_period_frames": 1_200, "log_period_frames": 800},
    "env": {"max_episode_frames": 200},
    "replay": {"min_sequences": 20},
    "distill": {"updates": 4, "fidelity_steps": 16},
    "evaluate": {"episodes": 2, "num_envs": 2, "video_seconds": 0.5, "bootstrap_repetitions": 50},
}

SHORT = {
    **TINY,
    "run": {"total_frames": 8_000, "checkpoint_period_frames": 2_000, "log_period_frames": 1_000},
    "env": {"max_episode_frames": 200, "num_envs": 8},
}
"""The same for the laptop's agent of conf/suite: the seed replay must not be the whole run."""


def notes(project: Any, suite: str) -> dict[str, dict[str, Any]]:
    folder = project.data / "07_model_output" / f"suite-{suite}"
    return {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}


def states(project: Any, suite: str) -> dict[str, str]:
    return {name: note["state"] for name, note in notes(project, suite).items()}


def reports(project: Any, suite: str) -> Path:
    folder: Path = project.data / "08_reporting" / f"suite-{suite}"
    return folder


@pytest.fixture(scope="module")
def story(tmp_path_factory: Any, make_project: Callable[[str], Any]) -> dict[str, Any]:
    """One game learns; the other's run name is taken by another configuration, so that it fails, and it alone.

    Before the second start the environment moves to experiments/, as conf/games did.
    """
    project = make_project("suite")
    asked = {**TINY, "suite": {"name": "two", "games": ["Pong", "Asterix"], "seeds": [1]}}
    project.run_here("setup", **{**TINY, "env": {"game": "Asterix"}, "loss": {"kappa": 0.5}})
    told: dict[str, Any] = {"project": project}
    with pytest.raises(OneLineError) as failure:
        project.run_here("suite", **asked)
    told["first"], told["record"] = str(failure.value), json.loads((reports(project, "two") / "suite.json").read_text())
    written = project.files()
    shutil.copytree(project.folder / "conf" / "test", project.folder / "experiments" / "test")
    shutil.rmtree(project.folder / "conf" / "test")
    with pytest.raises(OneLineError) as failure:
        project.run_here("suite", **asked)
    told["second"] = str(failure.value)
    told["reports"] = tmp_path_factory.mktemp("suite") / "reports"
    shutil.copytree(reports(project, "two"), told["reports"])
    after = project.files()
    told["touched"] = sorted(name for name in written if "Pong-s1" in name and after.get(name) != written[name])
    more = {"games": ["Pong", "Asterix", "Qbert"], "report_only": True, "compare": ["spr_400k"]}
    project.run_here("suite", **{**asked, "suite": {**asked["suite"], **more}})
    return told


def test_a_failed_member_is_named_and_the_other_is_done(story: dict[str, Any]) -> None:
    assert story["first"].startswith("1 of 2 members failed (Asterix-s1: run 'Asterix-s1' exists with another")
    assert "loss.kappa 0.5, now 0.1" in story["first"]
    assert story["first"].endswith("the same command (without run.fresh) tries the failed ones again")
    found = {member["name"]: (member["state"], member["error"]) for member in story["record"]["members"]}
    assert found["Pong-s1"] == ("done", None)
    assert found["Asterix-s1"][0] == "failed"
    assert states(story["project"], "two") == {"Pong-s1": "done", "Asterix-s1": "failed"}


def test_the_second_start_touches_nothing_that_is_done(story: dict[str, Any]) -> None:
    assert story["second"] == story["first"]
    assert story["touched"] == []


def test_a_run_that_learned_for_longer_is_refused_and_stays_done(story: dict[str, Any]) -> None:
    folder = story["project"].folder
    note = folder / "data" / "07_model_output" / "suite-two" / "Pong-s1.json"
    tree = parse_parameters({"env": {"game": "Pong"}, "run": {"total_frames": 1_600}}).model_dump(
        mode="json", by_alias=True
    )
    task = Task(
        Member("Pong", 1, "configured", "Pong-s1"), tree, str(folder), "test", note, ("setup",), None, "as_trained"
    )
    before = note.read_bytes()
    with pytest.raises(RunConflictError, match=r"'Pong-s1' has learned 2,\d+ frames, more than run\.total_frames=1600"):
        run_member(task)
    assert note.read_bytes() == before


def test_results_name_protocol_and_agents(story: dict[str, Any]) -> None:
    table = pd.read_csv(story["reports"] / "results.csv")
    assert set(table["run"]) == {"Pong-s1"}
    assert {"random", "teacher", "student"} <= set(table["agent"])
    assert set(table["protocol"]) == {"as_trained"}
    assert table["human_normalised"].isna().all()  # games are cut at 200 frames
    scores = json.loads((story["reports"] / "scores.json").read_text())
    assert scores["aggregates"]["configured"]["teacher"]["runs"] == 1
    [note] = scores["notes"]
    assert note.startswith("Pong: games were cut before their end")


def test_evidence_takes_the_done_members_and_keeps_the_rows_of_others(story: dict[str, Any], tmp_path: Path) -> None:
    evidence = runpy.run_path(str(ROOT / "benchmarks" / "evidence.py"), run_name="evidence")
    (done,) = evidence["members"](story["project"].data.parent, "two")
    table, columns = tmp_path / "two.csv", evidence["SCORES"]
    other = {**dict.fromkeys(columns, "x"), "game": "Boxing", "seed": "3"}
    mine = {**dict.fromkeys(columns, "old"), "game": "Pong", "variant": "configured", "seed": "1"}
    evidence["merge"](table, columns, evidence["MEMBER"], [other, mine])
    evidence["merge"](table, columns, evidence["MEMBER"], evidence["score_rows"]([done]))
    rows = pd.read_csv(table, dtype=str)
    assert list(rows["game"]) == ["Boxing"] + ["Pong"] * (len(rows) - 1)
    teacher = rows[rows["agent"] == "teacher"].iloc[0]
    assert float(teacher["return"]) == pytest.approx(done["scores"]["agents"]["teacher"]["mean"])
    assert 2_400 <= int(teacher["trained_frames"]) < 4_000
    assert teacher["commit"] == done["commit"] != "old"
    points = list(evidence["curve_rows"]([done]))
    assert points[-1]["frames"] == int(teacher["trained_frames"])
    ended = [point for point in points if point["episodes"]]
    assert [point["return"] for point in ended] == [round(row["episodes/return"], 3) for row in done["curve"]]


def test_the_page_tells_of_both(story: dict[str, Any]) -> None:
    page = (story["reports"] / "report.html").read_text()
    assert "1 member failed" in page
    assert "1 of 2 runs done" in page
    assert '<a href="../Pong-s1/report.html">Pong-s1</a>' in page
    assert (story["project"].data / "08_reporting" / "Pong-s1" / "report.html").is_file()


def test_a_report_alone_learns_nothing_and_names_what_is_missing(story: dict[str, Any]) -> None:
    folder = reports(story["project"], "two")
    record = json.loads((folder / "suite.json").read_text())
    found = {member["name"]: member["state"] for member in record["members"]}
    assert found == {"Pong-s1": "done", "Asterix-s1": "missing", "Qbert-s1": "missing"}
    beside = json.loads((folder / "scores.json").read_text())["published"]
    assert beside["missing"] == ["Asterix", "Qbert"]
    assert beside["columns"]["ours"]["over_games"] is None
    assert beside["columns"]["spr_400k"]["over_games"]["iqm"] > 0
    page = (folder / "report.html").read_text()
    assert "No run has finished for Asterix, Qbert." in page
    assert "1 of 3 runs done" in page


def test_an_unknown_published_agent_is_refused_before_anything_runs(project: Any) -> None:
    with pytest.raises(OneLineError, match=r"no published scores for the agent 'spr': choose from .*spr_400k"):
        project.run_here("suite", suite={"compare": ["spr"]})


def test_members_are_children_of_one_suite_in_mlflow(story: dict[str, Any]) -> None:
    runs = story["project"].runs()
    [parent] = [run for run in runs if run.data.tags[KIND] == "suite"]
    members = [run for run in runs if run.data.tags[KIND] == "member"]
    assert parent.info.run_name == "suite-two"
    assert {run.data.tags[PARENT] for run in members} == {parent.info.run_id}
    by_name = {run.info.run_name: run for run in members}
    assert {name: run.info.status for name, run in by_name.items()} == {"Pong-s1": "FINISHED", "Asterix-s1": "FAILED"}
    assert by_name["Pong-s1"].data.tags["meme57.protocol"] == "as_trained"
    assert by_name["Pong-s1"].data.params["game"] == "Pong"
    assert "score/teacher_return" in by_name["Pong-s1"].data.metrics
    assert "exists with another configuration" in by_name["Asterix-s1"].data.tags["meme57.note"]


def test_the_suites_parent_shows_what_is_done_and_a_link_to_the_page(story: dict[str, Any]) -> None:
    [parent] = [run for run in story["project"].runs() if run.data.tags[KIND] == "suite"]
    assert parent.data.metrics == {"0 results/runs_done": 1.0}  # games are cut, so there is no normalised score
    done, link, place = parent.data.tags["mlflow.note.content"].split("\n\n")
    assert done == "**Suite two**: 1 of 3 runs done."
    assert link.startswith("[Open the page](#/experiments/")
    assert place == "On disk: `data/08_reporting/suite-two/report.html`"


def test_an_impossible_variant_is_refused_before_anything_runs(project: Any) -> None:
    before = project.files()
    with pytest.raises(OneLineError, match=r"suite.variants.a sets loss.kapa, .* did you mean loss.kappa\?"):
        project.run_here("suite", suite={"games": ["Pong"], "variants": {"a": {"loss.kapa": 1.0}}})
    assert project.files() == before


def test_a_suite_runs_alone(project: Any) -> None:
    with pytest.raises(OneLineError, match="`suite` runs alone, not with setup"):
        project.run_here("setup", "suite")


def test_the_environment_suite_makes_it_the_default_and_the_next_context_does_not_keep_it() -> None:
    """In a process of its own: the pipelines of other tests are toys."""
    script = (
        "from pathlib import Path\n"
        "from kedro.framework.project import pipelines\n"
        "from kedro.framework.session import KedroSession\n"
        "from kedro.framework.startup import bootstrap_project\n"
        f"bootstrap_project(Path({str(ROOT)!r}))\n"
        "for env in ('test', 'suite', 'test', 'suite'):\n"
        f"    with KedroSession.create(project_path={str(ROOT)!r}, env=env) as session:\n"
        "        session.load_context()\n"
        "        print(env, 'run_members' in {node.name for node in pipelines['__default__'].nodes})\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["test", "False", "suite", "True"] * 2, done.stderr


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_three_games_and_two_seeds_killed_in_the_middle_and_finished(make_project: Callable[[str], Any]) -> None:
    project = make_project("killed")
    command = project.command(
        "--params",
        ",".join(f"{group}.{name}={value}" for group, values in SHORT.items() for name, value in values.items()),
    )
    command[command.index("test")] = "suite"
    settings = {"cwd": project.folder, "env": project.environment(), "stdout": subprocess.DEVNULL}
    with open(project.folder / "stderr", "w") as stream:
        process = subprocess.Popen(command, stderr=stream, **settings)
        deadline = time.monotonic() + 900
        while not middle(project) and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
        process.wait()
    left = notes(project, "smoke")
    done = {name for name, note in left.items() if note["state"] == "done"}
    assert len(done) >= 2, (project.folder / "stderr").read_text()[-2000:]
    assert "running" in states(project, "smoke").values()
    deadline = time.monotonic() + 30
    while children_of(project) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert children_of(project) == []  # a member does not outlive its suite

    finished = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
        cwd=project.folder,
        env=project.environment(),
    )
    assert finished.returncode == 0, finished.stderr[-2000:]
    assert f"6 members, {len(done)} done before" in finished.stderr
    after = notes(project, "smoke")
    assert {note["state"] for note in after.values()} == {"done"}
    assert len(after) == 6
    assert all(after[name] == left[name] for name in done)
    table = pd.read_csv(reports(project, "smoke") / "results.csv")
    assert set(table.loc[table["agent"] == "teacher", "run"]) == set(after)
    [suite] = [run for run in project.runs() if run.data.tags[KIND] == "suite"]
    assert suite.info.status == "FINISHED"
    members = [run for run in project.runs() if run.data.tags[KIND] == "member"]
    assert sorted(run.info.run_name for run in members) == sorted(after)  # the killed one's run went on


def middle(project: Any) -> bool:
    """Two members are done and another one has begun to learn."""
    found = states(project, "smoke")
    begun = [name for name, state in found.items() if state == "running"]
    learning = any((project.data / "06_models" / name / "checkpoints").is_dir() for name in begun)
    return list(found.values()).count("done") >= 2 and learning


def children_of(project: Any) -> list[str]:
    """Processes that work in the project's folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if os.readlink(entry) == str(project.folder):
                found.append(entry.parent.name)
        except OSError:
            continue
    return found


def test_a_member_whose_mlflow_run_cannot_be_opened_now_keeps_it(tmp_path: Path, monkeypatch) -> None:
    note = tmp_path / "Pong-s1.json"
    tree = parse_parameters({"env": {"game": "Pong"}}).model_dump(mode="json", by_alias=True)
    write_json(note, {"settings": member_settings(parse_parameters(tree)), "mlflow_run_id": "known"})
    away = StudyRun("http://127.0.0.1:9", "1", "parent", "suite-two", kind="member")
    member = Member("Pong", 1, "configured", "Pong-s1")
    monkeypatch.setattr("meme57.pipelines.suite.member.stop_requested", lambda: True)
    with pytest.raises(Interrupted):
        run_member(Task(member, tree, str(tmp_path), "test", note, ("setup",), away, "as_trained"))
    assert read_json(note) | {"state": "stopped", "mlflow_run_id": "known"} == read_json(note)


def test_only_members_that_are_done_are_counted_as_done(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    members = [{"name": name, "state": name, "error": None} for name in ("done", "missing")]
    check_members({"suite": "two", "members": members}, "the page")
    assert "suite two: 1 of 2 members done" in caplog.text


@pytest.mark.parametrize(
    ("settings", "left_out"),
    [
        ({}, {"register"}),
        ({"distill": False}, {"distill", "register"}),
        ({"register_policies": True}, set()),
    ],
)
def test_members_run_the_pipelines_that_the_suite_wants(
    settings: dict[str, Any], left_out: set[str], tmp_path: Path
) -> None:
    parameters = parse_parameters({"suite": {"games": "Pong", **settings}})
    (member,) = suite_members(parameters)
    place = {"project": str(tmp_path), "environment": "test"}
    nowhere = {"run_id": "", "parent_run_id": "", "experiment_id": "", "tracking_uri": "", "created": "", "commit": ""}
    task = _task(parameters, member, nowhere, place, tmp_path)
    assert task.pipelines == tuple(name for name in FLOW if name not in left_out)
