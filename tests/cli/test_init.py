"""`meme57 init DIR` lays out a project: complete, over nothing, and a kill leaves nothing that counts as one."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from meme57.api.project import project_folder
from meme57.cli.init import TEMPLATE, project_files
from meme57.errors import Meme57Error

ROOT = Path(__file__).parents[2]


def laid(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def in_the_checkout(*folders: str) -> set[str]:
    listed = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("an unpacked archive has no index")
    return set(listed.stdout.split())


def test_a_project_is_laid_and_is_one(tmp_path: Path, meme57: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = meme57("init", "new/project")
    assert done.exit_code == 0, done.output
    assert "cd new/project && kedro run --env test" in done.output
    monkeypatch.chdir("new/project/data")
    assert project_folder() == tmp_path / "new" / "project"
    assert meme57("runs", "list").exit_code == 0


def test_it_has_what_the_checkout_has(tmp_path: Path, meme57: Any) -> None:
    assert meme57("init", str(tmp_path)).exit_code == 0
    files = laid(tmp_path)
    assert {name for name in files if name.startswith("conf/")} == in_the_checkout("conf")
    experiments = {name for name in in_the_checkout("experiments") if name.endswith("/parameters.yml")}
    assert {name for name in files if name.startswith("experiments/")} == experiments
    kept = in_the_checkout("data/*/.gitkeep", "mlruns/.gitkeep")
    same = ["dvc.yaml", "requirements.lock", ".gitignore", ".dvcignore", ".telemetry", ".dvc/config", ".dvc/.gitignore"]
    for name in [*in_the_checkout("conf"), *experiments, *kept, *same]:
        assert files[name] == (ROOT / name).read_bytes()
    kedro = [tomllib.loads((folder / "pyproject.toml").read_text())["tool"]["kedro"] for folder in (tmp_path, ROOT)]
    assert kedro[0] == kedro[1]


def test_a_private_environment_is_not_handed_on() -> None:
    assert sorted(path.name for path in (TEMPLATE / "conf").iterdir()) == sorted(
        {name.split("/")[1] for name in in_the_checkout("conf")}
    )


@pytest.mark.parametrize("name", ["pyproject.toml", "conf", "conf/base/catalog.yml", "README.md", "data/06_models"])
def test_nothing_is_overwritten(name: str, tmp_path: Path, meme57: Any) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("mine")
    refused = meme57("init", str(tmp_path))
    assert refused.exit_code == 1
    assert refused.output.count("\n") == 1
    assert f"{tmp_path / name} is there already" in refused.output
    assert laid(tmp_path) == {name: b"mine"}


def test_a_link_to_nowhere_and_a_file_for_a_folder_are_refused(tmp_path: Path, meme57: Any) -> None:
    (tmp_path / "dvc.yaml").symlink_to(tmp_path / "gone")
    assert f"{tmp_path / 'dvc.yaml'} is there already" in meme57("init", str(tmp_path)).output
    assert f"{tmp_path / 'dvc.yaml'} is there already" in meme57("init", str(tmp_path / "dvc.yaml")).output
    assert sorted(tmp_path.iterdir()) == [tmp_path / "dvc.yaml"]


def test_other_files_stay_and_a_second_time_changes_nothing(tmp_path: Path, meme57: Any) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text("ref: refs/heads/main")
    assert meme57("init", str(tmp_path)).exit_code == 0
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert meme57("init", str(tmp_path)).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("after", [0, 1, 5, 20, 1_000])
def test_killed_it_is_no_project_until_it_is_typed_again(after: int, tmp_path: Path, meme57: Any) -> None:
    """The process ends without a word at the rename of its file number `after`; the last of all is pyproject.toml."""
    folder = tmp_path / "project"
    count = len(list(project_files()))
    script = f"""
import os, sys
from pathlib import Path
from meme57.cli.init import lay_project
calls, replace = [], os.replace
def killed(*names):
    calls.append(names)
    if len(calls) > {min(after, count - 1)}:
        os._exit(9)
    replace(*names)
os.replace = killed
lay_project(Path(sys.argv[1]))
"""
    done = subprocess.run([sys.executable, "-c", script, str(folder)], check=False)
    assert done.returncode == 9
    here = os.getcwd()
    os.chdir(folder)
    try:
        with pytest.raises(Meme57Error, match="no meme57 project"):
            project_folder()
    finally:
        os.chdir(here)
    assert meme57("init", str(folder)).exit_code == 0
    whole = {name: content for name, content in laid(folder).items() if not name.endswith(".tmp")}
    assert whole == dict(project_files())


def test_a_folder_that_cannot_be_written_to_is_one_line(meme57: Any) -> None:
    refused = meme57("init", "/proc/project")
    assert (refused.exit_code, refused.output.count("\n")) == (1, 1)
    assert "cannot be written" in refused.output
