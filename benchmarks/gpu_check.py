"""For the day a GPU is at hand: is the agent right on it, how fast is it, and why? Two calls of four minutes at most.

    python benchmarks/gpu_check.py A      # facts, tests, learner, profile, acting, both modes, replay
    python benchmarks/gpu_check.py B      # Pong, then greedy episodes
    python benchmarks/gpu_check.py A --dry    # every section in miniature, on a CPU too

Each section is a process with a time limit, the most important one first. Its figures go to results.json as they come,
so what a section found before an error or its limit is kept, and the next section runs. The folder (`--out`) also gets
log.txt (all output), kernels.txt and trace.json.gz (one profiled update) and pong.jsonl (rows of metrics).

The machine needs Python 3.12, CUDA's PyTorch, numpy, pyyaml, safetensors, rich, pytest and pytest-timeout, but no
Kedro, no MLflow and no network. What else is missing there travels as wheels (12 MB, versions of requirements.lock):

    python -m pip download --no-deps --only-binary=:all: --python-version 3.12 --implementation cp --dest wheels \\
        --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux_2_17_x86_64 \\
        --platform manylinux2014_x86_64 --platform manylinux1_x86_64 \\
        ale-py==0.12.1 gymnasium==1.4.0 farama-notifications==0.0.6 zstandard==0.25.0 pydantic==2.14.3 \\
        pydantic-core==2.50.4 annotated-types==0.8.0 typing-inspection==0.4.5 typing-extensions==4.16.0

and there:

    python3 -m pip install --no-index --no-deps --target site wheels/*.whl
    export PYTHONPATH=site:src PYTHONUNBUFFERED=1 OMP_NUM_THREADS=1
    python3 benchmarks/gpu_check.py A; python3 benchmarks/gpu_check.py B
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

CALLS = {
    "A": {
        "facts": 25, "tests": 45, "learner": 40, "profile": 20, "acting": 25, "overlapped": 35, "synchronous": 35,
        "replay": 15,
    },
    "B": {"pong": 240},
}  # fmt: skip
"""The sections of each call, and the seconds that each may take: four minutes together at most, without the start."""
DRY_SECONDS = 120
START = "import torch; torch.nn.Conv2d(1, 1, 3).cuda()(torch.zeros(1, 1, 8, 8).cuda()).sum().item()"
START_SECONDS = 90
"""For PyTorch's first start on a fresh machine, which reads gigabytes of libraries; it is no section's time."""


def add(out: Path, section: str, **figures: Any) -> dict[str, Any]:
    """Add figures of a section to results.json, in one step; return all of the section."""
    path = out / "results.json"
    results: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}
    results.setdefault(section, {}).update(figures)
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps(results, indent=1) + "\n")
    unfinished.replace(path)
    return results[section]


def measure(section: str, out: Path, *, dry: bool) -> None:
    """Run one section in this process."""
    import torch

    from gpu_sections import SECTIONS

    if not dry and not torch.cuda.is_available():
        raise SystemExit("there is no CUDA device: type `--dry` to try the script on a CPU")
    torch.set_num_threads(1)
    for figures in SECTIONS[section](out, dry):
        add(out, section, **figures)


def run(section: str, seconds: int, out: Path, *, dry: bool) -> bool:
    """Run one section in a process of its own; return whether it ended well within its seconds."""
    print(f"== {section}", flush=True)
    command = [sys.executable, __file__, section, "--out", str(out), *(["--dry"] if dry else [])]
    start, log = time.monotonic(), out / "log.txt"
    with log.open("a") as lines:
        process = subprocess.Popen(command, stdout=lines, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            error = f"exit code {code}" if (code := process.wait(timeout=seconds)) else None
        except subprocess.TimeoutExpired:
            error = f"not done after {seconds} s"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    for name, value in add(out, section, section_seconds=time.monotonic() - start, error=error).items():
        print(f"  {name}: {value:.4g}" if isinstance(value, float) else f"  {name}: {value}", flush=True)
    if error:
        print("\n".join(log.read_text().splitlines()[-15:]), flush=True)
    return error is None


def main() -> int:
    """Run what the module's docstring says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sections = [section for call in CALLS.values() for section in call]
    parser.add_argument("what", choices=[*CALLS, *sections], help="a call, or one section in this process")
    parser.add_argument("--dry", action="store_true", help="everything in miniature, on a CPU too")
    parser.add_argument("--out", type=Path, default=Path("gpu-check"), help="folder of the results")
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    if arguments.what in sections:
        measure(arguments.what, out, dry=arguments.dry)
        return 0
    if not arguments.dry:
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run([sys.executable, "-c", START], timeout=START_SECONDS, check=False)
    limits = CALLS[arguments.what]
    ended_well = [
        run(s, DRY_SECONDS if arguments.dry else limit, out, dry=arguments.dry) for s, limit in limits.items()
    ]
    return 0 if all(ended_well) else 1


if __name__ == "__main__":
    sys.exit(main())
