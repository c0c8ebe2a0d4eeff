"""Every command's help, and three bad inputs each, word for word.

`MEME57_UPDATE_SNAPSHOTS=1 python -m pytest tests/cli/test_snapshots.py` writes the files anew; look at the difference.
"""

from __future__ import annotations

import os
from pathlib import Path

import click
import pytest

from meme57.cli import main

FOLDER = Path(__file__).parent / "snapshots"
BAD: dict[str, tuple[tuple[str, ...], ...]] = {
    "": (("dcotor",), ("--verison",), ("status", "--run", "Pong-s1")),
    "completion": ((), ("tcsh",), ("bash", "zsh")),
    "demote": (("meme57-pong",), ("meme57-pong", "--reason", "x"), ("--reason", "x")),
    "doctor": (("now",), ("--quick",), ("--json=yes",)),
    "export": ((), ("Pong-s1",), ("Pong-s1", "--output", "student.pt")),
    "games": (("Pnog",), ("--all",), ("Pong", "ALE/Nothing-v5")),
    "play": (
        (),
        ("Pong-s1",),
        ("models:/meme57-pong",),
        ("Pong-s1", "--video", "film.gif"),
        ("Pong-s1", "--video", "film.mp4", "--window"),
        ("Pong-s1", "--sticky", "2"),
        ("no/such/folder",),
    ),
    "promote": (
        ("meme57-pong",),
        ("meme57-pong", "--reason", "x"),
        ("meme57-pong", "--reason", "x", "--version", "1", "--run", "Pong-s1"),
    ),
    "runs": ((), ("prune",), ("--json",)),
    "runs list": (("Pong-s1",), ("--yes",), ("--josn",)),
    "runs compare": (("Pong-s1",), ("Pong-s1", "Pong-s2"), ("a", "b", "c")),
    "runs delete": ((), ("Pong-s1", "--yes"), ("Pong-s1", "--force")),
    "status": (("Pong-s1",), ("--run", "Pong-s1"), ("--watch", "--json")),
    "ui": (("8080",), ("--port", "8080"), ("--no-mlflow", "--no-viz", "--no-optuna")),
}


def _commands(group: click.Group, prefix: str = "") -> list[str]:
    found = []
    for name, command in group.commands.items():
        found.append(f"{prefix}{name}")
        if isinstance(command, click.Group):
            found += _commands(command, f"{prefix}{name} ")
    return found


def test_no_command_is_left_out() -> None:
    assert sorted(BAD) == sorted(["", *_commands(main)])
    assert min(len(inputs) for inputs in BAD.values()) == 3


@pytest.mark.parametrize("command", BAD, ids=lambda name: name.replace(" ", "-") or "meme57")
def test_help_and_bad_inputs(command: str, empty: Path, meme57) -> None:
    said = []
    for arguments in (("--help",), *BAD[command]):
        words = [*command.split(), *arguments]
        result = meme57(*words)
        assert result.exit_code in ((0,) if arguments == ("--help",) else (1, 2))
        assert "Traceback" not in result.output
        assert str(empty) not in result.output
        said.append(f"$ meme57 {' '.join(words)}\n{result.output}[exit status {result.exit_code}]\n")
    text = "\n".join(said)
    path = FOLDER / f"{command.replace(' ', '-') or 'meme57'}.txt"
    if os.environ.get("MEME57_UPDATE_SNAPSHOTS"):
        path.write_text(text)
    assert text == path.read_text()
    assert sorted(empty.iterdir()) == [empty / "data", empty / "pyproject.toml"]  # a bad input leaves nothing behind
