"""The wheel: built from the source archive, whole, and enough to begin a project and train without a checkout."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from meme57.cli.init import TEMPLATE
from meme57.hooks.configuration import EXPERIMENTS

ROOT = Path(__file__).parents[1]
SOURCES = ("src", "conf", EXPERIMENTS, ".dvc")
FILES = (
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "dvc.yaml",
    "requirements.lock",
    ".gitignore",
    ".dvcignore",
    ".telemetry",
)


def build(what: str, folder: Path, target: Path) -> Path:
    """Call a function of the build backend in `folder`, without a network; return the file that it made."""
    target.mkdir()
    call = f"from setuptools import build_meta; build_meta.{what}({str(target)!r})"
    subprocess.run([sys.executable, "-c", call], cwd=folder, check=True, capture_output=True, text=True)
    [made] = target.iterdir()
    return made


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """From a copy of the checkout that has an environment nobody else should see, through the source archive."""
    folder = tmp_path_factory.mktemp("build")
    checkout = folder / "checkout"
    checkout.mkdir()
    for name in SOURCES:
        ignored = shutil.ignore_patterns("*.egg-info", "__pycache__", "cache", "tmp", "local")
        shutil.copytree(ROOT / name, checkout / name, symlinks=True, ignore=ignored)
    for name in FILES:
        shutil.copy(ROOT / name, checkout)
    (checkout / "conf" / "local").mkdir()
    (checkout / "conf" / "local" / "credentials.yml").write_text("password: secret")
    archive = build("build_sdist", checkout, folder / "archive")
    with tarfile.open(archive) as files:
        files.extractall(folder / "unpacked", filter="data")
    [unpacked] = (folder / "unpacked").iterdir()
    return build("build_wheel", unpacked, folder / "wheel")


def test_it_has_all_of_the_package_and_nothing_private(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as files:
        names = {name for name in files.namelist() if ".dist-info/" not in name}
        prefix = f"meme57/{TEMPLATE.name}/"
        template = {name.removeprefix(prefix): files.read(name) for name in names if name.startswith(prefix)}
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "src"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        tracked = {name.removeprefix("src/") for name in listed.stdout.split()}
        teachers = {
            name for name in tracked if re.match(r"meme57/pretrained/\w+/teacher/", name)
        }  # in a checkout alone
        assert {name for name in tracked - teachers if not name.startswith(prefix)} == {
            name for name in names if not name.startswith(prefix)
        }
        assert {f"{name.rsplit('/', 2)[0]}/student/student.onnx" for name in teachers} <= names
    here = [Path(parent, name) for parent, _, files in os.walk(TEMPLATE, followlinks=True) for name in files]
    assert template == {str(path.relative_to(TEMPLATE)): path.read_bytes() for path in here}
    assert not [name for name in names if "/conf/local" in name or "credentials" in name]


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of an environment that has the wheel; its dependencies are those of this environment."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    typed(folder / "bin", folder, "python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel))
    [site_packages] = folder.glob("lib/python*/site-packages")
    # A path in a .pth file is searched, but the .pth files in it are not read: this checkout is not found by them.
    (site_packages / "dependencies.pth").write_text(str(Path(np.__file__).parents[1]))
    return folder / "bin"


def typed(installed: Path, folder: Path, *command: str) -> str:
    """Type a command in `folder`, with the programs of `installed` first; return its output."""
    unset = ("PYTHONPATH", "MLFLOW_TRACKING_URI", "KEDRO_ENV", "KEDRO_LOGGING_CONFIG")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    environment |= {"PATH": f"{installed}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(1_500)
def test_a_project_is_begun_trained_and_looked_at(installed: Path, tmp_path: Path) -> None:
    home = typed(installed, tmp_path, "python", "-c", "import meme57; print(meme57.__file__)")
    assert Path(home).is_relative_to(installed.parent)
    assert "cd mine && kedro run --env test" in typed(installed, tmp_path, "meme57", "init", "mine")
    mine = tmp_path / "mine"
    assert "Open the report" in typed(installed, mine, "python", "-m", "kedro", "run", "--env", "test")
    record = json.loads((mine / "data/02_intermediate/Pong-s1/run_record.json").read_text())
    assert record["commit"].startswith("v")
    [run] = json.loads(typed(installed, mine, "meme57", "status", "--json"))
    assert (run["name"], run["state"]) == ("Pong-s1", "evaluated")
    assert "mean" in typed(installed, mine, "meme57", "play", "models:/meme57-pong@challenger")
    assert "FAIL" not in typed(installed, mine, "meme57", "doctor")
    typed(installed, mine, "meme57", "export", "Pong-s1", "--capsule", "run.zip")
    typed(installed, tmp_path, "meme57", "init", "other")
    typed(installed, tmp_path / "other", "meme57", "import", "../mine/run.zip")
    assert "mean" in typed(installed, tmp_path / "other", "meme57", "play", "Pong-s1", "--agent", "student")
    capsule = tmp_path / "other/data/08_reporting/Pong-s1/capsule"
    assert (capsule / "requirements.lock").read_bytes() == (ROOT / "requirements.lock").read_bytes()


@pytest.mark.slow
def test_code_of_ones_own_in_src_is_found(installed: Path, tmp_path: Path) -> None:
    typed(installed, tmp_path, "meme57", "init", ".")
    (tmp_path / "src" / "my_envs.py").write_text(
        "import gymnasium\n\ngymnasium.register('Mine-v0', entry_point='gymnasium.envs.classic_control:CartPoleEnv')\n"
    )
    command = ["--env", "test", "--pipelines", "setup,collect", "--params", "env.id=my_envs:Mine-v0,network.torso=mlp"]
    typed(installed, tmp_path, "python", "-m", "kedro", "run", *command)
    assert list((tmp_path / "data" / "03_primary").glob("*/seed_replay"))
