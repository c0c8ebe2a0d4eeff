"""What a person mistypes is one line that says what to type instead, before anything runs or is written."""

from __future__ import annotations

import pytest


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
