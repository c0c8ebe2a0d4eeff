"""What a person mistypes is one line that says what to type instead, before anything runs or is written."""

from __future__ import annotations

import pytest

from meme57.hooks.one_line import OneLineError


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--params", "env.game=Pnog"], "Error: env.game='Pnog' is not a known game: did you mean Pong or UpNDown?"),
        (["--params", "env.gmae=Pong"], "Error: unknown parameter env.gmae: did you mean env.game?"),
        (["--params", "learner.batch_size=0"], "Error: learner.batch_size=0 is not possible: "),
        (["--params", "family.gamma_min=0.999"], "Error: family.gamma_min=0.999 is above family.gamma_max=0.99"),
        (["--pipelines", "learn"], "Error: run 'Pong-s1' is not set up: `kedro run --pipelines setup` first"),
        (["--env", "tset"], "Error: there is no environment 'tset' in "),
    ],
    ids=["game", "key", "value", "combination", "order", "environment"],
)
def test_one_line_and_nothing_written(project, arguments: list[str], line: str) -> None:
    done = project.kedro(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith(line)
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""
    assert project.files() == {}


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
