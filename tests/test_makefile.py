"""`make` takes a `.venv` for set up only where it was made, and says in one line what to do with any other."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
REFUSED = "`make clean` removes it, then type make again"


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", "--no-print-directory", *arguments], cwd=folder, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def set_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with a real virtual environment, empty but for pip, and the mark that says set up."""
    folder = tmp_path_factory.mktemp("made") / "here & a%20b"
    folder.mkdir()
    shutil.copy(ROOT / "Makefile", folder)
    for name in ("requirements.lock", "pyproject.toml"):
        (folder / name).touch()
    subprocess.run([sys.executable, "-m", "venv", ".venv"], cwd=folder, check=True)
    (folder / ".venv" / ".setup-done").touch()
    return folder


def test_its_own_environment_is_set_up(set_up: Path) -> None:
    done = make(set_up, "setup")
    assert (done.returncode, done.stderr) == (0, "")
    assert "pip install" not in done.stdout


def copied(old: Path, new: Path) -> None:
    shutil.copytree(old, new, symlinks=True)


def linked(old: Path, new: Path) -> None:
    shutil.copytree(old, new, ignore=shutil.ignore_patterns(".venv"))
    (new / ".venv").symlink_to(old / ".venv")


def dangling(old: Path, new: Path) -> None:
    linked(old, new)
    (new / ".venv").unlink()
    (new / ".venv").symlink_to(old / "gone")


def without_its_python(old: Path, new: Path) -> None:
    copied(old, new)
    pip = new / ".venv" / "bin" / "pip"
    pip.write_text(pip.read_text().replace(str(old), str(new)))
    (new / ".venv" / "bin" / "python").unlink()
    (new / ".venv" / "bin" / "python").symlink_to("/no/such/python")


@pytest.mark.parametrize("spoil", [copied, linked, dangling, without_its_python])
def test_any_other_is_refused_in_one_line(set_up: Path, tmp_path: Path, spoil: Callable[[Path, Path], None]) -> None:
    new = tmp_path / "new"
    spoil(set_up, new)
    before = sorted(set_up.rglob("*"))
    for target in ("setup", "run", "test"):
        done = make(new, target)
        assert done.returncode == 2
        assert REFUSED in done.stderr.splitlines()[0]
        assert str(new) in done.stderr
        assert done.stdout == ""
    assert make(new, "clean").returncode == 0
    assert not os.path.lexists(new / ".venv")
    assert sorted(set_up.rglob("*")) == before  # what a link leads to is another's
    assert "-m venv .venv" in make(new, "--dry-run", "setup").stdout
