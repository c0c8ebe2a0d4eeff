"""`kedro run --pipelines tune --env test` on a real game: study, files, runs in MLflow, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from meme57.config import parse_parameters
from meme57.hooks.one_line import OneLineError
from meme57.tracking.runs import KIND, PARENT
from meme57.tracking.trials import STATE

TUNE = {"num_trials": 2, "evidence_seeds": [101], "pruner": "none", "frames": 2_800}


@pytest.fixture(scope="module")
def tuned(make_project: Callable[[str], Any]) -> Any:
    project = make_project("tuned")
    project.run_here("tune", tune=TUNE)
    return project


def test_the_record_counts_trials_and_frames(tuned: Any) -> None:
    record = json.loads((tuned.data / "08_reporting/tune-Asterix/study.json").read_text())
    assert record["states"] == {"COMPLETE": 2, "PRUNED": 0, "FAIL": 0}
    assert record["frames"] == sum(trial["frames"] for trial in record["trials"]) >= 2 * 2_800
    assert record["best"]["score"] == max(trial["score"] for trial in record["trials"])
    assert record["trials"][0]["values"]["learner.batch_size"] == 4  # as configured


def test_cut_games_are_scored_by_their_return_everywhere(tuned: Any) -> None:
    """`--env test` cuts games at 600 frames, so no score of the study may be called human-normalised."""
    folder, environment = tuned.data / "08_reporting/tune-Asterix", tuned.folder / "conf" / "tuned-Asterix"
    record, evidence = (json.loads((folder / name).read_text()) for name in ("study.json", "evidence.json"))
    assert (record["score"], evidence["score"], record["cut_at"]) == ("return", "return", 600)
    scores = [*evidence["configured"]["scores"].values(), *evidence["tuned"]["scores"].values()]
    assert min(record["best"]["score"], *scores) >= 0  # an Asterix return below random play's 210, normalised, is not
    assert "(return, final)" in (environment / "parameters.yml").read_text()
    for page in (folder / "report.html", *folder.glob("plot_*.json")):
        assert "human-normalised" not in page.read_text()
    assert "Games were cut at 600 frames." in (folder / "report.html").read_text()


def test_the_tuned_environment_is_complete_and_has_the_best_values(tuned: Any) -> None:
    folder = tuned.folder / "conf" / "tuned-Asterix"
    text = (folder / "parameters.yml").read_text()
    tree = yaml.safe_load(text)
    assert tree.pop("extends") == "test"
    written = parse_parameters(tree)
    best = json.loads((folder / "evidence.json").read_text())
    for name, value in best["best"]["values"].items():
        group, _, key = name.partition(".")
        assert tree[group][key] == value
    defaults = parse_parameters({}).model_dump(by_alias=True)
    assert all(set(tree[group]) == set(defaults[group]) for group in defaults if group != "tune")
    assert (written.env.game, written.run_name) == ("Asterix", "tuned-Asterix-s1")
    evidence = best["evidence"]
    assert f"configured {evidence['configured']['mean']:.4f}, tuned {evidence['tuned']['mean']:.4f}" in text
    assert set(evidence["tuned"]["scores"]) == {"Asterix-s101"}


@pytest.mark.slow
def test_kedro_runs_with_the_tuned_environment(tuned: Any) -> None:
    command = tuned.command("--pipelines", "setup")
    command[command.index("test")] = "tuned-Asterix"
    tuned.command = lambda *arguments: command
    try:
        done = tuned.kedro()
    finally:
        del tuned.command
    assert done.returncode == 0, done.stderr
    assert (
        json.loads((tuned.data / "02_intermediate/tuned-Asterix-s1/run_record.json").read_text())["game"] == "Asterix"
    )


def test_plots_and_report_are_written(tuned: Any) -> None:
    folder = tuned.data / "08_reporting/tune-Asterix"
    plots = {path.stem: json.loads(path.read_text()) for path in folder.glob("plot_*.json")}
    assert set(plots) == {f"plot_{name}" for name in ("history", "importances", "parallel", "slices", "intermediate")}
    assert len(plots["plot_intermediate"]["data"]) == 2
    page = (folder / "report.html").read_text()
    assert "Study Asterix" in page
    assert 'id="plot-parallel"' in page


def test_mlflow_has_a_parent_for_the_study_and_a_child_for_each_trial(tuned: Any) -> None:
    runs = {run.info.run_name: run for run in tuned.runs()}
    parent = runs["tune-Asterix"]
    children = [name for name, run in runs.items() if run.data.tags.get(PARENT) == parent.info.run_id]
    assert sorted(children) == ["trial-0000", "trial-0001", "tune-Asterix / tune"]
    assert parent.data.tags[KIND] == "study"
    assert {run.info.status for run in (parent, *(runs[name] for name in children))} == {"FINISHED"}
    trial = runs["trial-0000"]
    assert trial.data.tags[STATE] == "COMPLETE"
    assert trial.data.params["learner.batch_size"] == "4"
    assert len(tuned.client().get_metric_history(trial.info.run_id, "score")) == 1
    assert runs["tune-Asterix / tune"].data.metrics["study_frames"] >= 2 * 2_800


def test_the_studys_parent_shows_scores_and_a_link_to_the_page(tuned: Any) -> None:
    runs = {run.info.run_name: run for run in tuned.runs()}
    parent, child = runs["tune-Asterix"], runs["tune-Asterix / tune"]
    folder = tuned.data / "08_reporting/tune-Asterix"
    record, evidence = (json.loads((folder / name).read_text()) for name in ("study.json", "evidence.json"))
    shown = {name.removeprefix("0 results/"): value for name, value in parent.data.metrics.items()}
    assert shown == {
        "best_score": record["best"]["score"],
        "frames": record["frames"],
        "configured_score": evidence["configured"]["mean"],
        "tuned_score": evidence["tuned"]["mean"],
        "difference": evidence["difference"]["mean"],
    }
    best, compared, link, _ = parent.data.tags["mlflow.note.content"].split("\n\n")
    assert best.startswith(f"**Study Asterix**: best of 2 trials {record['best']['score']:.4f} (return, final), ")
    assert compared.endswith(f"tuned {evidence['tuned']['mean']:.4f}, n 1; {evidence['verdict']}.")
    page = f"#/experiments/{child.info.experiment_id}/runs/{child.info.run_id}/artifacts/report.html"
    assert link == f"[Open the page]({page})"


def test_a_second_start_learns_nothing_again_and_keeps_the_parent(tuned: Any) -> None:
    journal = tuned.data / "07_model_output/tune-Asterix/study.journal"
    before, runs_before = journal.read_bytes(), len(tuned.runs())
    tuned.run_here("tune", tune=TUNE)
    added = journal.read_bytes().removeprefix(before)
    assert b'"op_code":4' not in added  # no trial was created
    parents = [run for run in tuned.runs() if run.info.run_name == "tune-Asterix"]
    assert (len(parents), len(tuned.runs())) == (1, runs_before + 1)


@pytest.mark.parametrize(
    ("pipelines", "tune", "words"),
    [
        (["tune"], {"space": []}, "tune.space is empty"),
        (["tune"], {"space": [{"name": "learner.rate", "type": "int", "low": 1, "high": 2}]}, "did you mean learner"),
        (["tune", "learn"], {}, "`tune` runs alone, not with learn"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    project: Any, pipelines: list[str], tune: dict[str, Any], words: str
) -> None:
    with pytest.raises(OneLineError, match=words):
        project.run_here(*pipelines, tune=tune)
    assert project.files() == {}
    assert not (project.folder / "conf" / "tuned-Asterix").exists()
