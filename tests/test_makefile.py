"""`make` takes a `.venv` for set up only where it was made, and says in one line what to do with any other.

It lists its targets, and the slim set-up has what the full one has, without Ray, docs and dev.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
REFUSED = "`make clean` removes it, then repeat this command"


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
    for name in ("requirements.lock", "requirements-slim.lock", "pyproject.toml"):
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


def test_make_alone_lists_every_target_with_a_line() -> None:
    done = make(ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    listed = re.findall(r"^make ([a-z-]+) +\S.{10,}$", done.stdout, re.MULTILINE)
    assert len(listed) == len(done.stdout.splitlines())
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    assert set(listed) == set(phony[1].split()) - {"own-venv"}
    assert make(ROOT, "help").stdout == done.stdout


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A checkout of nothing: locks that no Python needs, and an environment that sees the packages of this one."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    shutil.copy(ROOT / "Makefile", folder)
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "of-nothing"\nversion = "1"\n[tool.setuptools]\npy-modules = []\n'
    )
    lines = ['one==1 ; python_version < "3"\n', 'two==1 ; python_version < "3"\n']
    (folder / "requirements-slim.lock").write_text(lines[0])
    (folder / "requirements.lock").write_text("".join(lines))
    subprocess.run([sys.executable, "-m", "venv", ".venv"], cwd=folder, check=True)
    (packages,) = (folder / ".venv").glob("lib/python*/site-packages")
    for old in packages.glob("setuptools*"):  # Python 3.11 brings one that cannot make wheels
        shutil.rmtree(old)
    (packages / "this_environment.pth").write_text(sysconfig.get_paths()["purelib"])
    return folder


def test_set_up_says_what_it_does_with_sizes_and_a_slim_one_is_enough_to_run(empty: Path) -> None:
    slim = make(empty, "setup-slim")
    assert slim.returncode == 0, slim.stderr
    said = slim.stdout.splitlines()
    assert [line.split(":")[0] for line in said] == [*(f"set-up {step}/4" for step in range(1, 5)), "set up"]
    assert "GB" in said[1]
    assert "the 1 packages of requirements-slim.lock, about 1.5 GB" in said[2]
    assert re.fullmatch(r"set up: \.venv has [\d.]+[KMG]", said[-1])
    assert "set-up" not in make(empty, "--dry-run", "run").stdout
    assert "requirements.lock" in make(empty, "--dry-run", "lint").stdout  # which the tools of developers are in

    full = make(empty, "setup")
    assert "the 2 packages of requirements.lock, about 2.0 GB" in full.stdout, full.stderr
    for target in ("setup", "setup-slim"):
        assert make(empty, target).stdout == ""
    assert "set-up" not in make(empty, "--dry-run", "run", "lint").stdout
    assert not (empty / ".venv" / ".setup-slim").exists()


def test_torch_is_the_cpu_build_where_there_is_no_nvidia_driver(empty: Path) -> None:
    def places(*variables: str) -> list[str]:
        (line,) = re.findall(r"-m pip install .*torch==.*", make(empty, "--dry-run", "setup", *variables).stdout)
        return re.findall(r"--(?:extra-)?index-url \S+", line)

    cpu = "https://download.pytorch.org/whl/cpu"
    assert places("HAS_NVIDIA=") == [f"--extra-index-url {cpu}"]
    assert places("HAS_NVIDIA=/dev/nvidiactl") == []
    for driver in ("HAS_NVIDIA=", "HAS_NVIDIA=/dev/nvidiactl"):
        assert places(driver, "TORCH_INDEX=https://example.org/x") == ['--index-url "https://example.org/x"']


def locked(name: str) -> dict[str, str]:
    """Package -> its lines: version, marker, hashes."""
    blocks = re.split(r"\n(?=\S)", (ROOT / name).read_text().strip())
    return {block.split("==")[0]: block for block in blocks}


def needed(requirements: list[str]) -> set[str]:
    """What these requirements need on this machine, all levels deep."""
    found: set[tuple[str, str]] = set()
    todo = [Requirement(text) for text in requirements]
    while todo:
        requirement = todo.pop()
        for extra in {"", *requirement.extras} - {extra for name, extra in found if name == requirement.name}:
            found.add((requirement.name, extra))
            inner = [Requirement(text) for text in importlib.metadata.requires(requirement.name) or []]
            todo += [part for part in inner if part.marker is None or part.marker.evaluate({"extra": extra})]
    return {canonicalize_name(name) for name, _ in found}


def test_the_slim_lock_is_the_full_one_without_ray_docs_and_dev() -> None:
    full, slim = locked("requirements.lock"), locked("requirements-slim.lock")
    assert {name: full[name] for name in slim} == slim
    assert {"ray", "mkdocs", "mkdocs-material", "pytest", "mypy", "ruff", "hypothesis"} <= set(full) - set(slim)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    kept = [text for name, texts in extras.items() if name not in ("ray", "docs", "dev") for text in texts]
    assert needed(project["dependencies"] + kept) - {"torch"} <= set(slim)
