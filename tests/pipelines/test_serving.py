"""MLflow's own scoring server answers with the registered student, as the student acts here."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from meme57.tracking.pyfunc import load_policy_model
from meme57.tracking.store import create_store

MODEL = "meme57-pong-student"
PATIENCE_SECONDS = 120.0


@pytest.fixture(scope="module")
def address(trained: Any) -> Iterator[str]:
    """The server's, while it runs."""
    project = trained[0]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", f"models:/{MODEL}@challenger",
        "--env-manager", "local", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
    ]  # fmt: skip
    environment = {
        **project.environment(),
        "MLFLOW_TRACKING_URI": "sqlite:///mlruns/mlflow.db",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # it calls uvicorn by name
    }
    server = subprocess.Popen(
        command, cwd=project.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        _wait(f"http://127.0.0.1:{port}/ping", server)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.communicate(timeout=60)


def _wait(url: str, server: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            assert server.poll() is None, server.communicate()[0]
            time.sleep(0.3)
    raise AssertionError(f"{url} never answered")


def _post(address: str, inputs: dict[str, Any]) -> Any:
    body = json.dumps({"inputs": {name: np.asarray(value).tolist() for name, value in inputs.items()}}).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["predictions"]


def test_a_posted_frame_gets_the_action_of_the_local_model(trained, address: str) -> None:
    local = load_policy_model(create_store(trained[0].folder), MODEL, alias="challenger")
    rng = np.random.default_rng(0)
    state = np.zeros((3, 2, 16), np.float32)
    for _ in range(3):  # the answer's state is the next step's
        inputs = {
            "frame": rng.integers(0, 256, (3, 36, 36), dtype=np.uint8),
            "action": rng.integers(0, 7, 3),
            "reward": rng.normal(size=3).astype(np.float32),
            "state": state,
        }
        served, expected = _post(address, inputs), local.predict(inputs)
        assert served["action"] == expected["action"].tolist()
        np.testing.assert_allclose(served["state"], expected["state"], atol=1e-6)
        state = np.asarray(served["state"], np.float32)


def test_a_missing_input_is_refused_by_the_signature(address: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        _post(address, {"frame": np.zeros((1, 36, 36), np.uint8)})
    assert caught.value.code == 400
    assert "Model is missing inputs" in caught.value.read().decode()
