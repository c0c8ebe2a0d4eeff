"""Every command's help, and three bad inputs each, word for word.

`MEME57_UPDATE_SNAPSHOTS=1 python -m pytest tests/cli/test_snapshots.py` writes the files anew; look at the difference.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from meme57.cli import main

FOLDER = Path(__file__).parent / "snapshots"
BAD: dict[str, tuple[tuple[str, ...], ...]] = {
    "": (("dcotor",), ("--verison",), ("status", "--run", "Pong-s1")),
    "completion": ((), ("tcsh",), ("bash", "zsh")),
    "demote": (("meme57-pong",), ("meme57-pong", "--reason", "x"), ("--reason", "x")),
    "doctor": (("now",), ("--quick",), ("--json=yes",)),
    "export": (
        (),
        ("Pong-s1",),
        ("Pong-s1", "--output", "student.pt"),
        ("Pong-s1", "--capsule", "run.tar"),
        ("Pong-s1", "--capsule", "run.zip", "--output", "student.onnx"),
    ),
    "games": (("Pnog",), ("--all",), ("Pong", "ALE/Nothing-v5")),
    "import": ((), ("Pong-s1.zip",), ("a.zip", "b.zip")),
    "init": ((), (".",), ("a", "b")),
    "models": (("meme57-pong",), ("a", "b"), ("--all",)),
    "play": (
        (),
        ("Pong-s1",),
        ("models:/meme57-pong",),
        ("Pong-s1", "--video", "film.gif"),
        ("Pong-s1", "--video", "film.mp4", "--window"),
        ("Pong-s1", "--sticky", "2"),
        ("no/such/folder",),
    ),
    "plot": (
        (),
        ("Pong-s1",),
        ("tune-small",),
        ("suite-smoke",),
        ("Pong-s1", "--out", "plot.pdf"),
        ("Pong-s1", "--published", "dqn"),
    ),
    "promote": (
        ("meme57-pong",),
        ("meme57-pong", "--reason", "x"),
        ("meme57-pong", "--reason", "x", "--version", "1", "--run", "Pong-s1"),
    ),
    "relocate": ((), ("now",), ("--json",)),
    "runs": ((), ("prune",), ("--json",)),
    "runs list": (("Pong-s1",), ("--yes",), ("--josn",), ("--sort", "score"), ("--suite", "smoke")),
    "runs compare": (("Pong-s1",), ("Pong-s1", "Pong-s2"), ("a", "b", "c")),
    "runs show": ((), ("Pong-s1",), ("a", "b"), ("Pong-s1", "--browser")),
    "runs delete": ((), ("Pong-s1", "--yes"), ("Pong-s1", "--force")),
    "status": (("Pong-s1",), ("--run", "Pong-s1"), ("--watch", "--json")),
    "ui": (("8080",), ("--port", "8080"), ("--no-mlflow", "--no-viz", "--no-optuna")),
}


RUN_ALL = """
import json, sys
from click.testing import CliRunner
from meme57.cli import main

said = {}
for command, inputs in json.loads(sys.argv[1]).items():
    said[command] = []
    for arguments in inputs:
        words = [*command.split(), *arguments]
        result = CliRunner().invoke(main, words, prog_name="meme57", terminal_width=100)
        said[command].append([words, result.exit_code, result.output])
print(json.dumps(said))
"""


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


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> dict[str, list[list[Any]]]:
    """Command -> arguments, exit status and output, all from one process of its own in an empty project.

    Not from this process: what other tests import (Kedro's commands) changes how click words its errors.
    """
    folder = tmp_path_factory.mktemp("empty")
    (folder / "pyproject.toml").write_text("[tool.kedro]\n")
    (folder / "data").mkdir()
    asked = {command: [["--help"], *map(list, inputs)] for command, inputs in BAD.items()}
    words = [sys.executable, "-c", RUN_ALL, json.dumps(asked)]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=True, timeout=300)
    assert str(folder) not in done.stdout
    assert sorted(folder.iterdir()) == [folder / "data", folder / "pyproject.toml"]  # bad input leaves nothing behind
    found: dict[str, list[list[Any]]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("command", BAD, ids=lambda name: name.replace(" ", "-") or "meme57")
def test_help_and_bad_inputs(command: str, said: dict[str, list[list[Any]]]) -> None:
    parts = []
    for words, status, output in said[command]:
        assert status in ((0,) if words[-1] == "--help" else (1, 2))
        assert "Traceback" not in output
        parts.append(f"$ meme57 {' '.join(words)}\n{output}[exit status {status}]\n")
    text = "\n".join(parts)
    path = FOLDER / f"{command.replace(' ', '-') or 'meme57'}.txt"
    if os.environ.get("MEME57_UPDATE_SNAPSHOTS"):
        path.write_text(text)
    assert text == path.read_text()
