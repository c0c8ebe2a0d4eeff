"""The `meme57` command: quick to start, one line for an error, and a doctor that notices."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from meme57.cli import main
from meme57.config.games import TOY_GAMES, rom_ids

HEAVY = ("torch", "mlflow", "kedro", "numpy", "pandas", "plotly", "ale_py", "pydantic", "rich")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


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
    import click

    from meme57.cli import cli

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


def doctor(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    return subprocess.run(
        [sys.executable, "-c", "from meme57.cli import main; main()", "doctor"],
        cwd=folder, env={**kept, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text("[tool.kedro]\n")
    (tmp_path / "conf" / "base").mkdir(parents=True)
    (tmp_path / "below" / "here").mkdir(parents=True)
    return tmp_path


def test_doctor_finds_this_machine_fit(project: Path) -> None:
    (project / "conf" / "base" / "mlflow.yml").write_text("server: {mlflow_tracking_uri: 'sqlite:///else/where.db'}\n")
    before = sorted(project.rglob("*"))
    done = doctor(project)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = {line[6:20].strip(): (line[:4].strip(), line[22:]) for line in done.stdout.splitlines()}
    assert {verdict for verdict, _ in lines.values()} == {"ok"}
    assert lines["torch"][1] == metadata.version("torch")
    assert lines["tracking store"][1] == f"sqlite:///{project}/else/where.db"
    assert lines["emulator"][1].startswith("Pong: ROM loads")
    assert "updates, a checkpoint in" in lines["self test"][1]
    assert {"device", "cores", "free disk", "python"} <= set(lines)
    assert sorted(project.rglob("*")) == before  # it looks, it does not write


def test_doctor_names_what_is_wrong_and_fails(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "occupied").write_text("a file where a folder should be")
    monkeypatch.chdir(project / "below" / "here")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///occupied/mlflow.db")
    monkeypatch.setattr("meme57.cli.PACKAGES", ("numpy", "no-such-package"))
    monkeypatch.setattr("meme57.cli.LEAST_FREE_GIB", 1e9)
    monkeypatch.setattr("meme57.cli._self_test", lambda: "skipped here")
    result = run("doctor")
    assert result.exit_code == 1
    failed = [line for line in result.output.splitlines() if line.startswith("FAIL")]
    assert len(failed) == 3
    assert "no-such-package" in failed[0]
    assert "a run needs 1e+09 GiB" in failed[1]
    assert f"{project / 'occupied'} is no folder that can be written to" in failed[2]
    assert result.output.splitlines()[-1] == "Error: 3 of the checks failed"
    assert "Traceback" not in result.output


def test_doctor_compares_versions_with_what_meme57_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    from meme57 import cli

    monkeypatch.setattr(cli.metadata, "version", lambda package: "1.0")
    with pytest.raises(cli.Meme57Error, match=r"1.0 is installed, meme57 needs .*>=2.11.*: `make setup`"):
        cli._required("torch")
