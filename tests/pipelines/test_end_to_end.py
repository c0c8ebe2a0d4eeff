"""`kedro run --env test` on real Pong, once; what it leaves on disk, in MLflow and on the terminal."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pytest
from kedro.framework.project import configure_project, pipelines
from kedro.framework.session import KedroSession
from mlflow.entities import Run

from meme57.checkpoints.store import newest_replay_index
from meme57.export.travelling import serve_policy
from meme57.learning.student_record import FILES
from meme57.replay.snapshot import replay_version
from meme57.tracking.pyfunc import load_policy_model
from meme57.tracking.store import create_store
from meme57.tracking.version_tags import lineage, score_from_tags

FLOW = ("setup", "collect", "learn", "distill", "evaluate", "report", "register")
FRAMES = 12_000
ROUND = 160
"""Frames of one round of the actors: 10 steps of 4 environments, 4 frames each; a run ends with a whole round."""


@pytest.fixture(scope="module")
def project(trained):
    return trained[0]


@pytest.fixture(scope="module")
def load(project):
    """Loads a dataset of the run through the project's own catalog."""
    configure_project("meme57")
    with KedroSession.create(project_path=project.folder, env="test") as session:
        catalog = session.load_context().catalog

    def call(name: str) -> Any:
        return catalog.load(name)

    call.catalog = catalog
    return call


@pytest.fixture(scope="module")
def runs(project) -> dict[str, Run]:
    """Parent and child of the first `kedro run`; later tests add children."""
    return {run.info.run_name: run for run in project.runs()[:2]}


def test_every_output_of_every_pipeline_exists_and_parses(load) -> None:
    pipelines.set_requested(None)
    names = sorted(set().union(*(pipelines[name].all_outputs() for name in FLOW)))
    assert len(names) == 22
    for name in names:
        assert load.catalog.exists(name), name
        assert load(name) is not None, name


def test_learning_curve_reaches_the_end_and_shows_play_and_learning(load) -> None:
    curve = load("learning_curve")
    assert FRAMES <= curve["frames"].iloc[-1] < FRAMES + ROUND
    assert curve["updates"].iloc[-1] > 100
    assert curve["loss/total"].notna().sum() >= 4
    assert curve["episodes/count"].sum() > 0
    assert curve["episodes/return"].dropna().between(-21, 21).all()
    assert curve["episodes/return"].notna().any()


def test_checkpoints_are_kept_and_the_best_is_one_of_them(load) -> None:
    index = load("checkpoints")
    assert [record["frames"] // 4_000 for record in index["checkpoints"]] == [2, 3]
    assert index["newest"]["frames"] // 4_000 == 3
    assert index["best"]["name"] in {record["name"] for record in index["checkpoints"]}


def test_scores_carry_protocol_and_intervals(load) -> None:
    scores = load("scores")
    assert scores["game"] == "Pong"
    assert scores["protocol"]["max_pool"] is True
    assert scores["protocol"]["protocol"] == "as_trained"
    assert scores["protocol"]["changed_since_training"] == {}
    for agent in ("random", "teacher", "student"):
        low, high = scores["agents"][agent]["interval"]
        assert -21 <= low <= scores["agents"][agent]["mean"] <= high <= 21
    episodes = load("episodes")
    sizes = episodes.groupby("agent").size().to_dict()
    preferred = sizes.pop("bandit_policy", None)  # whether the bandit had a finished episode to prefer by
    assert preferred == (None if scores["protocol"]["bandit_policy"] is None else 4)
    assert sizes == {"random": 4, "teacher": 4, "student": 4}
    seeds = episodes.groupby("agent")["seed"].apply(sorted)
    assert seeds["random"] == seeds["teacher"] == seeds["student"]


def test_fidelity_compares_student_and_teacher(load) -> None:
    fidelity = load("fidelity")
    assert 0 <= fidelity["agreement"] <= 1
    assert fidelity["kl"] >= 0
    assert fidelity["onnx_difference"] < 1e-4
    assert {"return_teacher", "return_student"} <= set(fidelity)
    assert fidelity["multiply_adds_ratio"] == fidelity["multiply_adds_student"] / fidelity["multiply_adds_teacher"]
    assert fidelity["onnx_step_ms"] > 0
    assert load("student")["bytes"] == fidelity["onnx_bytes"]


def test_video_decodes(load) -> None:
    # 2 seconds of 60 / 4 agent steps, and the first frame
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(load("video")))
    assert frames == 31
    assert seconds == pytest.approx(31 / 15, abs=0.1)


class _Links(HTMLParser):
    """What a page makes a browser fetch, or offers to go to."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "poster", "data")]


def test_report_opens_without_server_or_network(load) -> None:
    page = _Links()
    page.feed(load("report"))
    assert {"html", "video", "script"} <= page.tags
    assert any(link.startswith("data:video/mp4;base64,") for link in page.links)
    assert [link[:80] for link in page.links if not link.startswith(("data:", "#"))] == []


def test_no_record_holds_a_path_of_this_machine_but_those_of_mlflow(project) -> None:
    """A run's folders can be moved, or pulled by DVC elsewhere; `model_versions` points into the MLflow store."""
    here = str(project.folder).encode()
    found = [path for path in project.data.rglob("*") if path.is_file() and here in path.read_bytes()]
    assert [path.name for path in found] == ["model_versions.json"]


def test_terminal_shows_the_table_and_what_to_open_next(trained) -> None:
    project, done = trained
    for words in (
        "random",
        "human",
        "teacher",
        "student",
        "95 %",
        "meme57-pong v1 @ch",
        "meme57 ui",
        "protocol as_trained",
    ):
        assert words in done.stdout
    assert str(project.data / "08_reporting" / "Pong-s1" / "report.html") in done.stdout
    assert "/12,000 frames" in done.stderr
    first = done.stderr.splitlines()[0]
    assert "learns on: " in first
    assert "torch " in first
    assert "[8/16] learn: trains the agent\n" in done.stderr  # nothing was measured yet, so nothing is estimated
    assert "[16/16] show_summary: shows the result" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    assert "torchvision" not in done.stderr


def test_mlflow_has_a_finished_parent_and_child(runs) -> None:
    parent, child = runs["Pong-s1"], runs["Pong-s1 / default"]
    assert (parent.info.status, child.info.status) == ("FINISHED", "FINISHED")
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert child.data.params["env.game"] == "Pong"
    assert child.data.params["learner.mode"] == "synchronous"


def test_mlflow_has_the_report_and_its_plots(project, runs, load) -> None:
    found = {file.path for file in project.client().list_artifacts(runs["Pong-s1 / default"].info.run_id)}
    assert {"report.html", "plot_learning_curve.json", "plot_bandit.json", "plot_novelty.json"} <= found
    assert runs["Pong-s1 / default"].data.tags["meme57.protocol"] == "as_trained"


def test_the_estimate_is_written_beside_what_is_free(load) -> None:
    estimate = load("estimate")
    assert 0 < estimate["memory"]["total"] < estimate["free"]["memory"]
    assert 0 < estimate["disk"]["total"] < estimate["free"]["disk"]
    assert estimate["device"]["total"] == 0 or estimate["free"]["device"] is not None


def test_mlflow_has_the_metrics_of_every_stage(project, runs, load) -> None:
    metrics, scores = runs["Pong-s1 / default"].data.metrics, load("scores")
    assert metrics["score/teacher_return"] == scores["agents"]["teacher"]["mean"]
    assert (scores["cut_at"], scores["agents"]["student"]["cut_short"]) == (600, 4)  # `--env test` cuts games
    assert "score/student_human_normalised" not in metrics
    assert runs["Pong-s1 / default"].data.metrics["score/student_return"] == scores["agents"]["student"]["mean"]
    assert metrics["fidelity/agreement"] == pytest.approx(load("fidelity")["agreement"])
    curve = load("learning_curve")
    history = project.client().get_metric_history(runs["Pong-s1 / default"].info.run_id, "loss/total")
    recorded = {int(point.step): point.value for point in history}
    expected = curve.dropna(subset=["loss/total"]).set_index("frames")["loss/total"].to_dict()
    assert recorded == pytest.approx({int(step): value for step, value in expected.items()})


def test_the_parent_shows_scores_frames_and_a_link_to_the_page(runs, load) -> None:
    parent, child = runs["Pong-s1"], runs["Pong-s1 / default"]
    scores, metrics = load("scores"), parent.data.metrics
    assert metrics["0 results/teacher_return"] == scores["agents"]["teacher"]["mean"]
    assert metrics["0 results/student_return"] == scores["agents"]["student"]["mean"]
    assert metrics["0 results/frames"] == load("learning_curve")["frames"].iloc[-1]
    assert min(name.partition("/")[0] for name in metrics if "/" in name) == "0 results"
    description = parent.data.tags["mlflow.note.content"]
    page = f"#/experiments/{child.info.experiment_id}/runs/{child.info.run_id}/artifacts/report.html"
    assert f"[Open the page]({page})" in description
    assert "**Pong**, seed 1, preset test: 12,0" in description
    assert "`data/08_reporting/Pong-s1/report.html`" in description
    assert len([tag for tag in parent.data.tags if tag.startswith("meme57.")]) <= 10


def test_mlflow_has_each_checkpoint_as_a_logged_model(project, runs) -> None:
    child = runs["Pong-s1 / default"]
    models = project.client().search_logged_models([child.info.experiment_id])
    mine = [model for model in models if model.source_run_id == child.info.run_id]
    assert len(mine) == 5  # three checkpoints, teacher, student
    assert {str(model.status) for model in mine} == {"READY"}
    checkpoints = [model for model in mine if model.model_type == "checkpoint"]
    files = [{file.path for file in project.client().list_logged_model_artifacts(one.model_id)} for one in checkpoints]
    assert files == [{"manifest.json", "agent.json", "network.safetensors", "novelty.safetensors"}] * 3
    steps = {metric.step for model in mine for metric in model.metrics or []}
    assert sorted(step // 4_000 for step in steps) == [1, 2, 3]


def test_a_students_version_has_no_record_so_equal_students_are_one(project) -> None:
    assert {path.name for path in (project.data / "06_models/Pong-s1/policy/student").iterdir()} == set(FILES)


@pytest.mark.parametrize(("agent", "name"), [("teacher", "meme57-pong"), ("student", "meme57-pong-student")])
def test_registered_policy_loads_and_plays(project, load, agent: str, name: str) -> None:
    version = project.client().get_model_version_by_alias(name, "challenger")
    written = json.loads((project.data / "08_reporting" / "Pong-s1" / "model_versions.json").read_text())[agent]
    assert (written["model"], written["version"]) == (name, str(version.version))
    assert all(version.tags[f"meme57.{name}"] for name in ("run", "commit", "frames", "protocol", "cut_short"))
    assert len(version.tags) <= 10
    origin, score = lineage(version.tags), score_from_tags(version.tags)
    assert score is not None
    assert all(origin[name] for name in ("seed", "fingerprint", "checkpoint"))
    assert f"A policy for the game Pong: the {agent} of run Pong-s1" in version.description
    assert f"meme57 models {name}" in project.client().get_registered_model(name).description
    assert version.tags["meme57.run"] == "Pong-s1"
    assert version.tags["meme57.frames"] == str(load("checkpoints")["best"]["frames"])
    assert score.protocol == load("scores")["protocol"]["name"]
    newest = newest_replay_index(Path(load("checkpoints")["newest"]["folder"]))
    assert origin["data"] == replay_version(newest)
    policies = project.data / "06_models" / "Pong-s1"
    inputs = serve_policy(policies / ("policy/teacher" if agent == "teacher" else "student")).first_step
    output = load_policy_model(create_store(project.folder), name, alias="challenger").predict(inputs)
    assert output["action"].shape == (2,)
    assert output["state"].shape == inputs["state"].shape
