"""The numeric tests pass with narrower vector instructions than this machine has: a laptop is not a server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
AGENT = ("dynamics", "frames", "losses", "network", "novelty", "recurrence", "returns", "ties", "torso", "transforms")
LEARNING = ("health", "learner", "objective")
FILES = [f"tests/{room}/test_{name}.py" for room, names in (("agent", AGENT), ("learning", LEARNING)) for name in names]
RUN = """
import sys, pytest, torch
assert torch.backends.cpu.get_cpu_capability() == sys.argv[1], torch.backends.cpu.get_cpu_capability()
options = ["-q", "-p", "no:cacheprovider", "--confcutdir=tests/agent", "-k", "not when_it_grows"]
sys.exit(pytest.main([*options, *sys.argv[2:]]))
"""


@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"), reason="there is no narrower set than this one"
)
@pytest.mark.parametrize("capability", ["default", "avx2"])
def test_numbers_do_not_depend_on_the_instruction_set(capability: str) -> None:
    """PyTorch's own kernels, oneDNN's and MKL's are switched each by a variable of its own."""
    narrower = {
        "ATEN_CPU_CAPABILITY": capability, "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    command = [sys.executable, "-c", RUN, capability.upper(), *FILES]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **narrower}, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
