"""Nobody is called and HOME stays empty: the real commands in a network where every attempt is seen and answered.

A child here knows nothing of the switches: its environment has a search path, an empty HOME, and little else.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tiny_agent import TINY, changed

ROOT = Path(__file__).parents[2]
REQUIRED = "MEME57_NAMESPACE_REQUIRED"
NETWORK = Path(__file__).with_name("watched_network.py")
KEPT = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "TMPDIR")
PATIENCE_SECONDS = 550

DELIBERATE = """
import socket
socket.create_connection(("example.org", 8123)).sendall(b"word")
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"word", ("203.0.113.9", 123))
"""
UNTIL_SEEN = """
import os, pathlib, time
end = time.monotonic() + 60  # ONNX Runtime takes ten seconds
while "TCP" not in pathlib.Path(os.environ["SEEN"]).read_text() and time.monotonic() < end:
    time.sleep(0.2)
os._exit(0)
"""
"""Threads that still send once crashed the interpreter as it ended; how others end is not what is tested."""
ONNX_RUNTIME = "import onnxruntime" + UNTIL_SEEN
MLFLOW = "import mlflow; mlflow.set_tracking_uri('sqlite:///mlflow.db'); mlflow.set_experiment('any')" + UNTIL_SEEN
MEME57 = "from meme57.cli import main; main()"
FLOW = """
"$PYTHON" -m kedro run --env test
"$PYTHON" -m kedro run --env test --pipelines tune --params tune.num_trials=1,tune.frames=2800,tune.pruner=none
"$PYTHON" -c "$MEME57" doctor
"$PYTHON" -c "$MEME57" play Pong-s1 --agent student
"$PYTHON" -m meme57.learning --folder runs --config tiny.json
MLFLOW_TRACKING_URI=sqlite:///mlruns/mlflow.db "$PYTHON" -c "$LOAD"
"""
(LOAD,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/architecture.md").read_text(), re.DOTALL | re.MULTILINE)
"""Takes a student that conf/test made from the registry, as people are told to."""
UI = """
import subprocess, sys, urllib.request
words = [sys.executable, "-c", "from meme57.cli import main; main()", "ui"]
process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
links = {}
for line in process.stdout:
    if line.startswith("Ctrl-C"):
        break
    name, link = line.split(maxsplit=1)
    links[name] = link.strip()
for link in (*links.values(), links["Kedro-Viz"] + "/api/version"):
    print(link, len(urllib.request.urlopen(link, timeout=60).read()))
process.terminate()
sys.exit(process.wait())
"""
RAY = """
import meme57
from meme57.actors.ray_cluster import connect, import_ray
import time
ray = import_ray("this test")
connect(ray, num_cpus=1, object_store_mb=100)
time.sleep(5)  # its head asks in a process of its own, a second or two after the start
ray.shutdown()
"""


@dataclass(frozen=True)
class Watched:
    """What a command did."""

    output: str
    seen: list[str]
    """Whom it tried to reach."""
    home: list[str]
    """Files and empty folders that it left under HOME."""


@pytest.fixture(scope="session")
def namespace() -> list[str]:
    """The words that start a command in a namespace of its own."""
    probe = [sys.executable, str(NETWORK), os.devnull, "true"]
    for words in (["unshare", "--net", "--mount"], ["unshare", "--map-root-user", "--net", "--mount"]):
        try:
            subprocess.run([*words, *probe], capture_output=True, text=True, check=True)
            return words
        except FileNotFoundError as error:
            reason = str(error)
        except subprocess.CalledProcessError as error:
            reason = error.stderr.strip().rpartition("\n")[2]
    reason = f"no network namespace can be made here: {reason}"
    if REQUIRED in os.environ:
        pytest.fail(f"{reason}, and {REQUIRED} is set")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def watch(namespace: list[str], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Watched]:
    """Runs a command in a folder, with the variables given, in the watched network."""

    def run(command: list[str], folder: Path | None = None, **variables: str) -> Watched:
        own = tmp_path_factory.mktemp("watched")
        home, seen = own / "home", own / "seen"
        home.mkdir()
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        kept |= {"HOME": str(home), "SEEN": str(seen), "OMP_NUM_THREADS": "1", "PYTHON": sys.executable}
        done = subprocess.run(
            [*namespace, sys.executable, str(NETWORK), str(seen), *command], cwd=folder or own,
            env={**kept, **variables}, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        leaves = (path for path in home.rglob("*") if not path.is_dir() or not any(path.iterdir()))
        left = sorted(str(path.relative_to(home)) for path in leaves)
        return Watched(done.stdout, seen.read_text().splitlines(), left)

    return run


def python(script: str) -> list[str]:
    return [sys.executable, "-c", script]


@pytest.fixture(scope="module")
def flow(watch: Callable[..., Watched], make_project: Callable[[str], Any]) -> tuple[Any, Watched]:
    """Every pipeline and the commands around them, on real Pong."""
    project = make_project("watched")
    (project.folder / "tiny.json").write_text(json.dumps(changed(TINY, run={"total_frames": 800})))
    return project, watch(["sh", "-ec", FLOW], project.folder, MEME57=MEME57, LOAD=f"{LOAD}print(out)")


def test_a_deliberate_call_is_seen(watch: Callable[..., Watched]) -> None:
    seen = watch(python(DELIBERATE)).seen
    assert {"look-up of example.org", "TCP example.org:8123", "UDP 203.0.113.9:123"} == set(seen)


def test_onnx_runtime_without_the_switch_is_seen(watch: Callable[..., Watched]) -> None:
    pytest.importorskip("onnxruntime")
    done = watch(python(ONNX_RUNTIME))
    assert "TCP mobile.events.data.microsoft.com:443" in done.seen
    assert ".cache/Microsoft/DeveloperTools/.onnxruntime/deviceid" in done.home


def test_mlflow_without_the_switch_is_seen(watch: Callable[..., Watched]) -> None:
    done = watch(python(MLFLOW))
    assert "TCP config.mlflow-telemetry.io:443" in done.seen
    assert ".config/mlflow/telemetry.json" in done.home


def test_the_flow_calls_nobody_and_leaves_home_empty(flow: tuple[Any, Watched]) -> None:
    project, done = flow
    assert done.seen == []
    assert done.home == []
    assert json.loads((project.data / "08_reporting/tune-Asterix/study.json").read_text())["states"]["COMPLETE"] == 1
    assert "'action': array(" in done.output  # of the student from the registry


@pytest.mark.slow
def test_the_dashboards_call_nobody(flow: tuple[Any, Watched], watch: Callable[..., Watched]) -> None:
    for module in ("kedro_viz", "optuna_dashboard"):
        pytest.importorskip(module)
    done = watch(python(UI), flow[0].folder)
    assert len(done.output.splitlines()) == 4
    assert done.seen == []
    assert done.home == []


@pytest.mark.slow
def test_a_ray_cluster_of_ours_calls_nobody(watch: Callable[..., Watched]) -> None:
    pytest.importorskip("ray")
    done = watch(python(RAY))
    assert done.seen == []
    assert done.home == [".ray/auth_token"]  # Ray's key to its cluster
