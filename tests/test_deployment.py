"""The deployment files: pinned to the locked Ray, no actor on the learner's machine, nothing open to the world."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

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
