"""The deployment files: pinned to the locked Ray, no actor on the learner's machine, nothing open to the world."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.specifiers import SpecifierSet

from meme57 import stopping
from meme57.privacy import SWITCHES

ROOT = Path(__file__).parents[1]


def load(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((ROOT / "deploy" / name).read_text()))


def locked_ray() -> str:
    found = re.search(r"^ray==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert found
    return found[1]


def test_the_launchers_file_passes_rays_own_schema() -> None:
    pytest.importorskip("ray")
    from ray.autoscaler._private.util import prepare_config, validate_config

    (config,) = load("ray-cluster.yaml")
    validate_config(prepare_config(config))
    assert config["min_workers"] == len(config["provider"]["worker_ips"])
    head = " ".join(config["head_start_ray_commands"])
    assert "--num-cpus=0 --num-gpus=0" in head
    assert "--include-dashboard=false" in head
    for commands in (head, " ".join(config["worker_start_ray_commands"])):
        assert "RAY_USAGE_STATS_ENABLED=0 RAY_USAGE_STATS_REPORT_URL=http://127.0.0.1:9 RAY_AUTH_MODE=token" in commands
    assert f"ray[default]=={locked_ray()}" in (ROOT / "deploy/ray-cluster.yaml").read_text()


def test_kubernetes_places_learner_and_actors_apart() -> None:
    cluster, claim = load("kuberay.yaml")
    spec = cluster["spec"]
    assert spec["rayVersion"] == locked_ray()
    assert spec["authOptions"] == {"mode": "token"}
    head, (actors,) = spec["headGroupSpec"], spec["workerGroupSpecs"]
    assert (head["rayStartParams"]["num-cpus"], head["rayStartParams"]["num-gpus"]) == ("0", "0")
    volumes = {volume["name"]: volume for volume in head["template"]["spec"]["volumes"]}
    assert volumes["runs"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    pod = actors["template"]["spec"]
    label = actors["template"]["metadata"]["labels"]
    assert pod["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"] == label
    apart = pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0]
    assert apart["labelSelector"]["matchLabels"]["ray.io/node-type"] == "head"
    images = {group["template"]["spec"]["containers"][0]["image"] for group in (head, actors)}
    assert len(images) == 1


def test_the_image_gets_no_environment_no_data_and_no_history(tmp_path: Path) -> None:
    """`COPY . .` obeys `.dockerignore`; Docker's own rules, as its Python client has them, say what is left."""
    docker = pytest.importorskip("docker.utils.build")
    stays = [
        "pyproject.toml", "requirements.lock", "Makefile", ".telemetry", "dvc.yaml", ".dvc/config",
        "src/meme57/files.py", "src/meme57/config/games.csv", "conf/base/catalog.yml", "data/06_models/.gitkeep",
        "mlruns/.gitkeep",
    ]  # fmt: skip
    goes = [
        ".venv/bin/python", ".venv/.setup-done", ".git/HEAD", "data/06_models/Pong-s1/checkpoints/index.json",
        "data/01_raw/x", "data/08_reporting/Pong-s1/scores.json", "mlruns/mlflow.db", "mlruns/artifacts/1/x",
        "conf/local/credentials.yml", ".dvc/cache/files/x", ".dvc/config.local", "src/meme57/__pycache__/files.pyc",
        "src/meme57.egg-info/PKG-INFO", ".mypy_cache/x", "build/site/index.html",
    ]  # fmt: skip
    for name in [*stays, *goes]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    found = {name for name in docker.exclude_paths(str(tmp_path), patterns) if (tmp_path / name).is_file()}
    assert found == set(stays)
    assert "COPY . ." in (ROOT / "deploy" / "Dockerfile").read_text()


@pytest.fixture
def slurm(tmp_path: Path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Run deploy/slurm.sh in an empty project; `srun` is a script, and `scontrol` writes down what it is asked for."""
    programs, project = tmp_path / "programs", tmp_path / "project"
    programs.mkdir()
    project.mkdir()

    def run(srun: str, *, python: str = "exit 1", **given: str) -> subprocess.CompletedProcess[str]:
        for name, line in {"srun": srun, "python": python, "scontrol": 'echo "scontrol $*"'}.items():
            (programs / name).write_text(f"#!/bin/bash\n{line}\n")
            (programs / name).chmod(0o755)
        environment = {
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "SLURM_SUBMIT_DIR": str(project),
            "SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "16", **given,
        }  # fmt: skip
        command = ["bash", str(ROOT / "deploy" / "slurm.sh"), "--env", "gpu", "--params", "env.game=Up N Down"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    return run


@pytest.mark.parametrize("status", [130, 138])
def test_a_slurm_job_that_was_stopped_is_queued_again(slurm: Any, status: int) -> None:
    stopped = slurm(f'pwd; printf "%s|" "$@" "$SRUN_CPUS_PER_TASK"; echo; exit {status}')
    folder, command, queued = stopped.stdout.splitlines()
    assert Path(folder).name == "project"
    assert command == "python|-m|kedro|run|--env|gpu|--params|env.game=Up N Down|16|"
    assert (queued, stopped.returncode) == ("scontrol requeue 7", status)


@pytest.mark.parametrize("status", [0, 1, 137])
def test_a_slurm_job_that_is_finished_or_failed_is_not(slurm: Any, status: int) -> None:
    done = slurm(f"exit {status}")
    assert (done.returncode, done.stdout) == (status, "")


@pytest.mark.parametrize(("sees_it", "status"), [(0, 0), (1, 1)])
def test_a_slurm_job_with_a_gpu_does_not_begin_with_pytorch_for_the_cpu(slurm: Any, sees_it: int, status: int) -> None:
    done = slurm("echo it runs", python=f'[[ "$2" == *cuda.is_available* ]]; exit {sees_it}', SLURM_GPUS_ON_NODE="1")
    assert (done.returncode, done.stdout) == (status, "" if status else "it runs\n")
    assert ("make setup TORCH_INDEX=https://pypi.org/simple" in done.stderr) == bool(status)


def test_scancel_ends_a_slurm_job_for_good(slurm: Any) -> None:
    """Slurm sends SIGTERM to the script and to the run, which ends with the status of a polite stop."""
    done = slurm("kill -TERM $PPID; exit 130")
    assert (done.returncode, done.stdout) == (143, "")


def test_slurm_gives_notice_and_asks_for_one_machine() -> None:
    lines = (ROOT / "deploy" / "slurm.sh").read_text().splitlines()
    asked = dict(line.removeprefix("#SBATCH --").partition("=")[::2] for line in lines if line.startswith("#SBATCH"))
    assert (asked["nodes"], asked["ntasks"], asked["requeue"]) == ("1", "1", "")
    name, _, seconds = asked["signal"].partition("@")
    assert signal.Signals[f"SIG{name}"] in stopping.NOTICES
    assert int(seconds) >= 120
    first = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
    assert not [line for line in lines[first:] if line.startswith("#SBATCH")]  # Slurm reads none below a command


def test_the_devcontainer_is_set_up_by_the_makefile() -> None:
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    program, target, *settings = container["postCreateCommand"].split()
    makefile = (ROOT / "Makefile").read_text()
    assert program == "make"
    assert f"\n{target}: " in makefile
    assert [name for word in settings if f"$({(name := word.partition('=')[0])})" not in makefile] == []
    python = re.fullmatch(r"mcr\.microsoft\.com/devcontainers/python:(\d)\.(\d+)", container["image"])
    requires = SpecifierSet(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"])
    assert python is not None
    assert requires.contains(".".join(python.groups()))
    assert container["containerEnv"].items() <= {**SWITCHES, "OMP_NUM_THREADS": "1"}.items()
