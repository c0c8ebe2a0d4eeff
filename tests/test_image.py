"""The image trains: built where Docker is at hand, else the Dockerfile's steps are executed in a clean root."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import string
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
SYSTEM = ("usr", "etc", "opt", "bin", "sbin", "lib", "lib64")
"""Folders of this machine that stand for the base image's, read-only."""
TRAIN = "kedro run --env test && meme57 status && meme57 doctor"
CLEAN_ROOT = """
set -e
cd "$1"
mkdir -p dev proc
mount --rbind /dev dev
mount --rbind /proc proc
for folder in $2; do
  mkdir -p "./$folder"
  mount --bind "/$folder" "./$folder"
  mount -o remount,bind,ro "./$folder"
done
exec chroot . sh -c "$3"
"""


def steps(text: str) -> Iterator[tuple[str, str]]:
    """Yield the instructions of a Dockerfile in their order, continued lines joined."""
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#")).replace("\\\n", " ")
    for line in lines.splitlines():
        if line.strip():
            instruction, _, rest = line.strip().partition(" ")
            yield instruction, rest.strip()


class Image:
    """What the steps make: a root folder, a working directory, an environment."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = "/"
        self.environment = {"PATH": f"{sys.base_prefix}/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/tmp"}
        self.arguments: dict[str, str] = {}
        (root / "tmp").mkdir(parents=True)

    def apply(self, instruction: str, rest: str) -> None:
        """Execute one step; one that this class does not know fails."""
        known = {"FROM": self._from, "WORKDIR": self._workdir, "ARG": self._arg, "ENV": self._env,
                 "COPY": self._copy, "RUN": self.run}  # fmt: skip
        known[instruction](rest)

    def run(self, command: str) -> str:
        """Run a shell command in the root; what apt-get would install must be on this machine."""
        if command.startswith("apt-get"):
            packages = re.findall(r"--no-install-recommends ([\w ]+?) *&&", command)[0].split()
            assert [name for name in packages if shutil.which(name) is None] == []
            return ""
        kept = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}  # where packages are
        system = [name for name in SYSTEM if Path("/", name).is_dir()]
        if not Path(sys.base_prefix).is_relative_to("/usr"):
            system.append(sys.base_prefix.lstrip("/"))
        words = ["unshare", "--mount", "sh", "-c", CLEAN_ROOT, "sh", self.root, " ".join(system)]
        done = subprocess.run(
            [*words, f"cd {shlex.quote(self.folder)} && {command}"],
            env={**kept, **self.arguments, **self.environment},
            capture_output=True, text=True, timeout=1_500, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout[-2_000:]}\n{done.stderr[-2_000:]}"
        return done.stdout

    def _from(self, image: str) -> None:
        version = re.fullmatch(r"python:3\.(\d+)-slim", image)
        assert version is not None
        assert int(version[1]) in (11, 12, 13)

    def _workdir(self, folder: str) -> None:
        self.folder = folder
        (self.root / folder.lstrip("/")).mkdir(parents=True)

    def _arg(self, setting: str) -> None:
        name, _, value = setting.partition("=")
        self.arguments[name] = os.environ.get(f"MEME57_IMAGE_{name}", value)

    def _env(self, settings: str) -> None:
        for word in shlex.split(settings):
            name, _, value = word.partition("=")
            self.environment[name] = string.Template(value).substitute(self.environment)

    def _copy(self, what: str) -> None:
        assert what == ". ."
        exclude_paths = pytest.importorskip("docker.utils.build").exclude_paths
        patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
        for name in sorted(exclude_paths(str(ROOT), patterns)):
            source, target = ROOT / name, self.root / self.folder.lstrip("/") / name
            if source.is_dir() and not source.is_symlink():
                target.mkdir(parents=True, exist_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target, follow_symlinks=False)


def test_the_steps_are_those_that_can_be_executed() -> None:
    found = list(steps(DOCKERFILE.read_text()))
    assert {instruction for instruction, _ in found} == {"FROM", "RUN", "WORKDIR", "ARG", "ENV", "COPY"}
    assert found[-1] == ("RUN", 'make setup PYTHON=python3 TORCH="$TORCH" TORCH_INDEX="$TORCH_INDEX"')
    assert ("ARG", "TORCH_INDEX=") in found


def _has_docker() -> bool:
    return (
        shutil.which("docker") is not None and subprocess.run(["docker", "info"], capture_output=True).returncode == 0
    )


def _can_mount() -> bool:
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    return shutil.which("unshare") is not None and subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(3_000)
@pytest.mark.skipif(not _has_docker(), reason="no Docker here: the next test executes its steps")
def test_the_image_is_built_and_trains() -> None:
    build = ["docker", "build", "--quiet", "-f", str(DOCKERFILE), str(ROOT)]
    image = subprocess.run(build, check=True, capture_output=True, text=True).stdout.strip()
    done = subprocess.run(
        ["docker", "run", "--rm", image, "sh", "-c", TRAIN], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Open the report" in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(3_000)
@pytest.mark.skipif(
    _has_docker() or not _can_mount(), reason="Docker builds the image itself, or nobody may mount here"
)
def test_the_steps_of_the_image_make_a_root_that_trains(tmp_path: Path) -> None:
    """From PyPI, as `make setup` does; nothing of this checkout or of this person's home is seen from inside."""
    image = Image(tmp_path / "root")
    for instruction, rest in steps(DOCKERFILE.read_text()):
        image.apply(instruction, rest)
    assert not (image.root / "meme57" / ".git").exists()
    assert "Open the report" in image.run(TRAIN)
    where = image.run("python -c 'import meme57, sys; print(meme57.__file__, sys.prefix)'")
    assert where.split() == ["/meme57/src/meme57/__init__.py", "/meme57/.venv"]
