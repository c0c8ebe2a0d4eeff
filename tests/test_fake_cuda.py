"""The agent on a CUDA device that is not there: a mistake about devices, types or waiting fails here, on a CPU.

`fake_cuda/scenarios.py` runs in a process of its own. The device computes nothing, so no number of the agent is tested.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

HERE = Path(__file__).parent / "fake_cuda"
CASES = (
    "default",
    "bfloat16",
    "no distilled policy",
    "retrace",
    "q lambda",
    "no novelty",
    "model and moved pictures",
    "nfnet",
    "impala",
    "conf/gpu",
)
PATIENCE_SECONDS = 900

pytestmark = [
    pytest.mark.skipif(shutil.which("g++") is None, reason="the device guard needs g++"),
    pytest.mark.skipif(torch.version.cuda is not None, reason="this build of torch has a CUDA device of its own"),
]


@pytest.fixture(scope="module", name="found")
def _found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    guard, home = tmp_path_factory.mktemp("guard") / "libguard.so", Path(torch.__file__).parent
    headers = [f"-I{home / 'include'}", f"-I{home / 'include/torch/csrc/api/include'}"]
    libraries = [f"-L{home / 'lib'}", "-lc10", "-ltorch_cpu", f"-Wl,-rpath,{home / 'lib'}"]
    build = ["g++", "-O1", "-fPIC", "-shared", "-std=c++20", "-w", *headers, str(HERE / "guard.cpp"), *libraries]
    subprocess.run([*build, "-o", str(guard)], check=True, timeout=PATIENCE_SECONDS)
    code = [HERE, HERE.parent / "learning", HERE.parent, *(HERE.parents[1] / name for name in ("src", "benchmarks"))]
    environment = {"PYTHONPATH": os.pathsep.join(map(str, code)), "FAKE_CUDA_GUARD": str(guard), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(HERE / "scenarios.py")], capture_output=True, text=True, check=False,
        timeout=PATIENCE_SECONDS, env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    tree: dict[str, Any] = json.loads(done.stdout)
    return tree


def steps(found: dict[str, Any], case: str) -> dict[str, Any]:
    return {name: step for name, step in found[case].items() if isinstance(step, dict)}


@pytest.mark.parametrize("case", CASES)
def test_every_step_finds_its_tensors_on_the_right_device(found, case: str) -> None:
    assert {name: step["error"] for name, step in steps(found, case).items() if step["error"]} == {}
    assert len(steps(found, case)) == (16 if case == "conf/gpu" else 25)


@pytest.mark.parametrize("case", CASES)
def test_the_lstm_runs_in_float32_although_autocast_would_make_it_float16(found, case: str) -> None:
    assert found[case]["LSTM runs in"] == ["torch.float32"]


@pytest.mark.parametrize("case", CASES)
def test_an_update_waits_for_nothing_even_with_a_health_check(found, case: str) -> None:
    names = [name for name in steps(found, case) if name in ("first update", "update", "update after it")]
    assert {name: found[case][name]["wait_at"] for name in names} == {name: {} for name in names}


def test_an_update_of_the_full_agent_costs_no_more_than_it_did(found) -> None:
    update = found["conf/gpu"]["update"]
    assert update["launches"] <= MOST["launches an update"]
    assert update["gigabytes"] <= MOST["gigabytes an update"]
    assert update["copies"] == 18


def test_an_acting_step_of_the_full_agent_costs_no_more_than_it_did(found) -> None:
    for name in ("acting step 3", "acting step 12"):
        step = found["conf/gpu"][name]
        assert step["launches"] <= MOST["launches an acting step"]
        assert step["waits"] <= MOST["waits of an acting step"]


def test_the_page_has_these_counts() -> None:
    page = (HERE.parents[1] / "docs/performance.md").read_text()
    for name, most in MOST.items():
        row = next(line for line in page.splitlines() if line.startswith(f"| {name}"))
        assert row.endswith(f"| {most:,} |"), row


MOST = {
    "launches an update": 1_509,
    "gigabytes an update": 203.4,
    "launches an acting step": 202,
    "waits of an acting step": 2,
}
"""What is counted today (docs/performance.md); a gain lowers it."""
