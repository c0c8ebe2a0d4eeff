"""The `meme57` command as a whole: quick to start, found by pip and by Kedro, one line for an error; `meme57 games`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import click
from click.testing import CliRunner, Result

from meme57.cli import cli, main
from meme57.config.games import TOY_GAMES, rom_ids

HEAVY = ("torch", "mlflow", "kedro", "numpy", "pandas", "plotly", "ale_py", "pydantic", "rich")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), prog_name="meme57")


def test_import_is_quick_and_loads_nothing_heavy() -> None:
    script = (
        "import sys, time; start = time.process_time(); import meme57.cli; spent = time.process_time() - start\n"
        f"import json; print(json.dumps([spent, sorted(set({HEAVY!r}) & set(sys.modules))]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    seconds, loaded = json.loads(done.stdout)
    assert loaded == []
    assert seconds < 0.5


def test_console_script_is_this_command() -> None:
    [script] = metadata.entry_points(group="console_scripts", name="meme57")
    assert script.value == "meme57.cli:main"
    assert script.load() is main


def test_kedro_finds_the_group_that_it_asks_for() -> None:
    """Without it every `kedro` command of the project fails."""
    assert isinstance(cli, click.Group)
    assert not cli.commands  # Kedro would let them stand in for its own


def test_version() -> None:
    result = run("--version")
    assert result.exit_code == 0
    assert result.output == f"meme57, version {metadata.version('meme57')}\n"


def test_games_lists_every_game_with_scores_or_a_dash() -> None:
    result = run("games")
    assert result.exit_code == 0
    head, *rows = [line.split() for line in result.output.splitlines()]
    assert head == ["env.game", "random", "human"]
    assert [row[0] for row in rows] == [*rom_ids(), *TOY_GAMES]
    table = {game: scores for game, *scores in rows}
    assert table["Pong"] == ["-20.7", "14.6"]
    assert table["MontezumaRevenge"] == ["0.0", "4,753.3"]
    assert table["Corridor"] == ["-", "-"]
    assert sum(scores == ["-", "-"] for scores in table.values()) == len(table) - 57


def test_games_by_name_in_any_spelling() -> None:
    result = run("games", "ALE/Pong-v5", "space_invaders")
    assert [line.split()[0] for line in result.output.splitlines()[1:]] == ["Pong", "SpaceInvaders"]


def test_unknown_game_is_one_line_with_the_nearest_names() -> None:
    result = run("games", "Pnog")
    assert result.exit_code == 1
    assert result.output == "Error: env.game='Pnog' is not a known game: did you mean Pong or UpNDown?\n"


def test_unknown_command_is_a_usage_error() -> None:
    result = run("dcotor")
    assert result.exit_code == 2
    assert "No such command 'dcotor'" in result.output


def test_games_as_json() -> None:
    rows = json.loads(run("games", "pong", "Corridor", "--json").output)
    assert rows == [
        {"game": "Pong", "random": -20.7, "human": 14.6},
        {"game": "Corridor", "random": None, "human": None},
    ]


def test_completion_script_completes_commands_options_and_runs(empty: Path) -> None:
    (empty / "data" / "02_intermediate" / "Pong-s1").mkdir(parents=True)
    (empty / "data" / "02_intermediate" / "Pong-s1" / "run_record.json").write_text("{}")
    for shell in ("bash", "zsh", "fish"):
        assert "_MEME57_COMPLETE" in run("completion", shell).output

    def completed(words: str) -> set[str]:
        environment = {**os.environ, "_MEME57_COMPLETE": "bash_complete", "COMP_WORDS": words}
        environment["COMP_CWORD"] = str(len(words.split(" ")) - 1)
        code = "from meme57.cli import main; main(prog_name='meme57')"
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        return {line.partition(",")[2] for line in done.stdout.splitlines()}

    assert completed("meme57 pro") == {"promote"}
    assert completed("meme57 status --w") == {"--watch"}
    assert completed("meme57 play Po") == {"Pong-s1"}
    assert completed("meme57 status --run ") == {"Pong-s1"}


def test_outside_a_project_the_command_says_where_to_go(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("status")
    assert result.exit_code == 1
    assert result.output.startswith("Error: this folder is in no meme57 project: `cd` to one")


def test_ctrl_c_is_status_130_and_no_traceback(monkeypatch) -> None:
    @click.command()
    def waiting() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setitem(main.commands, "waiting", waiting)
    result = run("waiting")
    assert result.exit_code == 130
    assert "Traceback" not in result.output


def test_output_on_a_full_disk_is_one_line_and_a_reader_that_leaves_ends_it() -> None:
    line = [sys.executable, "-c", "from meme57.cli import main; main(prog_name='meme57')", "games"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "Error: standard output cannot be written (No space left on device): make room, or print elsewhere\n"
    )
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(line, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")
