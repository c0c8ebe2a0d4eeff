"""What a person mistypes is one line that says what to type instead, before anything runs or is written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from kedro.framework.project import configure_project, pipelines

from meme57.config import parse_parameters
from meme57.errors import CheckpointError
from meme57.hooks.one_line import OneLineError
from meme57.hooks.selection import ProjectSession
from meme57.pipelines import FLOW
from meme57.pipelines.learn.nodes import _refuse_lost_checkpoints
from meme57.pipelines.words import NODES, node_line


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--params", "env.game=Pnog"], "Error: env.game='Pnog' is not a known game: did you mean Pong or UpNDown?"),
        (["--params", "env.gmae=Pong"], "Error: unknown parameter env.gmae: did you mean env.game?"),
        (["--params", "learner.batch_size=0"], "Error: learner.batch_size=0 is not possible: "),
        (["--params", "family.gamma_min=0.999"], "Error: family.gamma_min=0.999 is above family.gamma_max=0.99"),
        (["--pipelines", "learn"], "Error: run 'Pong-s1' is not set up: `kedro run --pipelines setup` first"),
        (["--env", "tset"], "Error: there is no environment 'tset' in "),
        (["--pipelines", "setup,lern"], "Error: --pipelines lern: there is no such pipeline: did you mean learn?"),
    ],
    ids=["game", "key", "value", "combination", "order", "environment", "pipeline"],
)
def test_one_line_and_nothing_written(project, arguments: list[str], line: str) -> None:
    done = project.kedro(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith(line)
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""
    assert project.files() == {}


@pytest.mark.parametrize(
    ("names", "options", "line"),
    [
        (["zzzz"], {}, "--pipelines zzzz: there is no such pipeline: there are __default__, collect, distill, "),
        ([], {"node_names": ["lern"]}, "--nodes lern: nothing here has this name: did you mean learn?"),
        (["learn"], {"node_names": ["make_report"]}, "--nodes make_report: .*: there are learn"),
        ([], {"from_nodes": ["distil_student"]}, "--from-nodes distil_student: .*: did you mean distill_student?"),
        ([], {"to_nodes": ["learn", "x"]}, "--to-nodes x: nothing here has this name: there are "),
        ([], {"from_inputs": ["env_spek"]}, "--from-inputs env_spek: .*: did you mean env_spec?"),
        ([], {"to_outputs": ["chekpoints"]}, "--to-outputs chekpoints: .*: did you mean checkpoints or "),
        ([], {"tags": ["learm"]}, "--tags learm: nothing here has this name: did you mean learn?"),
        (["learn"], {"tags": ["setup"]}, "--tags setup: nothing here has this name: there are learn"),
        ([], {"namespaces": ["x"]}, "--namespaces x: nothing here has this name: there are none"),
        (
            ["setup"],
            {"to_nodes": ["make_env_spec"], "from_nodes": ["describe_hardware"]},
            "--from-nodes describe_hardware --to-nodes make_env_spec: no node matches all of these: leave one out",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list | dict) else "",
)
def test_a_name_that_there_is_not_is_one_line(project, names, options, line: str) -> None:
    configure_project("meme57")
    with (
        pytest.raises(OneLineError, match=line.replace("?", r"\?")) as caught,
        ProjectSession.create(project_path=project.folder, env="test") as session,
    ):
        session.run(pipeline_names=names, **options)
    assert caught.value.exit_code == 1
    assert "\n" not in caught.value.message
    assert project.files() == {}


def test_a_part_of_the_flow_runs_as_in_kedro(project) -> None:
    configure_project("meme57")
    with ProjectSession.create(project_path=project.folder, env="test") as session:
        session.run(to_nodes=["make_policy_family"], tags=())
    assert [path.name for path in project.data.rglob("*.json")] == ["policy_family.json"]
    with (
        ProjectSession.create(project_path=project.folder, env="suite") as session,
        pytest.raises(OneLineError) as caught,
    ):
        session.run(node_names=["run_member"])
    assert "did you mean run_members or" in caught.value.message


def test_a_run_that_cannot_fit_is_refused_in_one_line_and_leaves_no_record(project) -> None:
    huge = {"replay": {"capacity_sequences": 10**9}, "run": {"total_frames": 10**12, "checkpoint_period_frames": 10**9}}
    with pytest.raises(
        OneLineError, match=r"run 'Pong-s1' needs about [\d.,]+ GiB of disk .*replay.capacity_sequences"
    ):
        project.run_here("setup", "collect", **huge)
    assert not [path for path in project.data.rglob("*") if path.is_file() and path.name != "hardware.json"]


def test_the_refusal_can_be_overruled(project) -> None:
    huge = {"run": {"total_frames": 10**12, "checkpoint_period_frames": 10**9, "check_resources": False}}
    project.run_here("setup", **huge, replay={"capacity_sequences": 10**9})
    assert list(project.data.rglob("run_record.json"))


def test_kedros_other_commands_say_it_in_one_line_too(project) -> None:
    words = [sys.executable, "-m", "kedro", "registry", "describe", "evalute"]
    done = subprocess.run(
        words, cwd=project.folder, env=project.environment(), capture_output=True, text=True, check=False
    )
    line = "Error: --pipelines evalute: there is no such pipeline: did you mean evaluate or suite?"
    assert (done.returncode, done.stderr.strip()) == (1, line)


def test_every_node_is_tagged_with_its_pipeline() -> None:
    configure_project("meme57")
    pipelines.set_requested(None)
    named = {name: pipeline for name, pipeline in dict(pipelines).items() if name != "__default__"}
    assert all(node.tags == {name} for name, pipeline in named.items() for node in pipeline.nodes)
    tags = [next(iter(node.tags)) for node in dict(pipelines)["__default__"].nodes]
    assert sorted(set(tags)) == sorted(FLOW)
    assert len(tags) == sum(len(named[name].nodes) for name in FLOW)


def test_the_log_has_words_for_every_node_and_for_no_other() -> None:
    configure_project("meme57")
    pipelines.set_requested(None)
    assert {node.name for pipeline in dict(pipelines).values() for node in pipeline.nodes} == set(NODES)
    assert node_line("learn", 8, 16, "about 9 min") == "[8/16] learn: trains the agent (about 9 min)"


def test_checkpoints_that_are_gone_are_not_taken_for_a_new_run(tmp_path: Path) -> None:
    """As when the disk of data/06_models is not mounted: the curve of the run would be overwritten."""
    settings = parse_parameters({"run": {"name": "Pong-s1", "checkpoint_period_frames": 1_000}})
    curve = tmp_path / "data" / "08_reporting" / "Pong-s1" / "learning_curve.csv"
    checkpoints = tmp_path / "data" / "06_models" / "Pong-s1" / "checkpoints"
    curve.parent.mkdir(parents=True)
    curve.write_text("frames,episodes/return\n2400,1.0\n")
    _refuse_lost_checkpoints(settings, tmp_path, checkpoints, 500)  # killed before its first checkpoint
    curve.write_text("frames,episodes/return\n2400,1.0\n2600,1.0\n")
    with pytest.raises(CheckpointError, match=r"learned 2,600 frames, and .*checkpoints has no checkpoint: put"):
        _refuse_lost_checkpoints(settings, tmp_path, checkpoints, 500)
    (checkpoints / "checkpoint-000001").mkdir(parents=True)
    _refuse_lost_checkpoints(settings, tmp_path, checkpoints, 500)
