"""The recipes of docs/changing.md: their patches apply, and the tests that they name fail and pass as they say."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
RECIPES = {
    title: text
    for title, text in re.findall(
        r"^## (.+?)\n(.*?)(?=^## |\Z)", (ROOT / "docs" / "changing.md").read_text(encoding="utf-8"), re.M | re.S
    )
}
TESTS = {
    "A loss term and its coefficient": "tests/config/test_identity.py",
    "A metric": "tests/test_docs.py",
    "A torso": "tests/agent/test_torso.py",
    "A torso of your own, outside this code": "tests/test_changing.py",
    "An environment of your own, outside this code": "tests/test_changing.py",
    "A built-in small game": "tests/envs/test_toys.py",
    "A pipeline stage": "tests/test_docs.py",
    "A network input": "tests/agent/test_inputs.py",
}
"""Recipe -> the file with the test that it names."""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The code, its configuration, docs and tests."""
    for name in ("src", "conf", "docs", "tests", "experiments", "benchmarks"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "local"))
    for name in ("pyproject.toml", "mkdocs.yml", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def patches(title: str) -> list[str]:
    return re.findall(r"^```diff\n(.*?)^```", RECIPES[title], re.M | re.S)


def apply(patch: str, folder: Path) -> None:
    command = ["git", "apply", "--unidiff-zero", "-"]
    done = subprocess.run(command, cwd=folder, input=patch, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def passes(folder: Path, file: str, name: str) -> bool:
    script = "import sys, pytest; sys.path.insert(0, 'src'); sys.exit(pytest.main(sys.argv[1:]))"
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", file, "-k", name]
    done = subprocess.run(
        [sys.executable, "-c", script, *options], cwd=folder, capture_output=True, text=True, timeout=200, check=False,
        env={"PYTHONPATH": str(folder / "src"), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.returncode == 0


def test_every_recipe_has_its_test_here() -> None:
    assert set(RECIPES) == set(TESTS)


@pytest.mark.parametrize("title", RECIPES)
def test_the_patches_apply_in_their_order(title: str, copy: Path) -> None:
    assert patches(title)
    for patch in patches(title):
        apply(patch, copy)
    for path in (copy / "src").rglob("*.py"):
        compile(path.read_text(encoding="utf-8"), str(path), "exec")


def test_a_torso_of_your_own_works_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from meme57.agent.parameters import NetworkSpec
    from meme57.agent.torso import make_torso

    [patch] = patches("A torso of your own, outside this code")
    apply(patch, tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    sizes = {"height": 36, "width": 48, "num_actions": 4, "num_policies": 2, "embedding_size": 4}
    torso = make_torso(NetworkSpec(torso="my_torsos:Patches", **sizes))
    assert torso.num_features == 8 * 9 * 12


def test_an_environment_of_your_own_works_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from meme57.config import parse_parameters
    from meme57.envs import env_spec, make_env

    [patch] = patches("An environment of your own, outside this code")
    apply(patch, tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = env_spec(parse_parameters({"env": {"id": "my_envs:Walk-v0"}}).env)
    assert (spec.frame_shape, spec.frame_dtype, spec.max_episode_frames) == ((1, 9), "float32", 100)
    env = make_env(spec, num_envs=1)
    env.reset(seed=0)
    results = [env.step(np.ones(1, np.int64)) for _ in range(8)]
    assert [float(result.reward[0]) for result in results] == [0.0] * 7 + [1.0]
    assert results[-1].terminated[0]


@pytest.mark.slow
@pytest.mark.parametrize("title", [title for title in RECIPES if len(patches(title)) == 2])
def test_the_named_test_fails_until_the_second_patch(title: str, copy: Path) -> None:
    [name] = re.findall(r"Now `(test_\w+)` fails", RECIPES[title])
    first, second = patches(title)
    apply(first, copy)
    assert not passes(copy, TESTS[title], name)
    apply(second, copy)
    assert passes(copy, TESTS[title], name)


@pytest.mark.slow
def test_the_tests_of_all_torsos_run_on_a_new_one(copy: Path) -> None:
    [patch] = patches("A torso")
    apply(patch, copy)
    assert passes(copy, TESTS["A torso"], "wide")


@pytest.mark.slow
def test_a_new_stage_is_missed_by_the_docs(copy: Path) -> None:
    [patch] = patches("A pipeline stage")
    assert passes(copy, TESTS["A pipeline stage"], "test_generated_parts_are_current")
    apply(patch, copy)
    assert not passes(copy, TESTS["A pipeline stage"], "test_generated_parts_are_current")
