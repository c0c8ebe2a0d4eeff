"""Shared by all benchmarks: their command, pieces of work timed in turn, medians with spread, the machine's name."""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rows import commit

Clock = Callable[[], float]
Figures = dict[str, Any]
FOLDERS = ("peer", "before", "runs")
"""Options of benchmarks that name folders."""
PACKAGES = ("torch", "numpy", "ale-py", "zstandard")


def command(doc: str, measure: Callable[..., Figures], table: Callable[[Figures], str], **defaults: Any) -> None:
    """Run a benchmark from the command line, with an option per argument of `measure`; print a table, write JSON."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    for name, default in defaults.items():
        first = default[0] if isinstance(default, tuple) else default
        parser.add_argument(
            f"--{name}", type=type(first), default=default, nargs="+" if isinstance(default, tuple) else None
        )
    parser.add_argument("--json", type=Path, help="where all figures go")
    options = vars(parser.parse_args())
    path = options.pop("json")
    shown = {name: _names(value) if name in FOLDERS else value for name, value in options.items()}
    figures = {"machine": machine(), "options": shown, **measure(**options)}
    print(table(figures))
    if path is not None:
        path.write_text(json.dumps(figures, indent=1) + "\n")


def _names(folders: str | Sequence[str]) -> str | list[str]:
    """Leave out where the folders are: the figures are published."""
    return Path(folders).name if isinstance(folders, str) else [Path(folder).name for folder in folders]


def in_turn(
    work: Mapping[str, Callable[[], object]], repetitions: int, *, clock: Clock = time.perf_counter, warm_up: int = 2
) -> dict[str, np.ndarray]:
    """Time each piece of work, one after the other in each repetition, after `warm_up` unmeasured rounds."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(repetitions + warm_up):
        for name, run in work.items():
            start = clock()
            run()
            times[name].append(clock() - start)
    return {name: np.array(values[warm_up:]) for name, values in times.items()}


def spread(values: np.ndarray) -> dict[str, float]:
    """Compute median, quartiles and extremes."""
    low, median, high = (float(value) for value in np.quantile(values, [0.25, 0.5, 0.75]))
    return {"median": median, "q25": low, "q75": high, "min": float(values.min()), "max": float(values.max())}


def show(figure: Mapping[str, float], digits: int = 2) -> str:
    """Format `median (q25, q75)`."""
    return "{median:,.{n}f} ({q25:,.{n}f}, {q75:,.{n}f})".format(n=digits, **figure)


def exponent(sizes: list[float], costs: list[float]) -> float:
    """Fit the slope of log(cost) over log(size): 0 is flat, 1 is linear."""
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def machine() -> dict[str, Any]:
    """Return processor, cores, GPU and versions."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "two_processes_over_one": _two_over_one(),
        "bf16_instructions": _has_bf16(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch_threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "commit": commit() or "unknown",
        **{package: metadata.version(package) for package in PACKAGES},
    }


def _two_over_one() -> float:
    """Measure the work of two processes / that of one: 2 on two cores, 1 on two threads of one core."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(_products, [0.2, 0.2]))  # both have started
        alone = pool.submit(_products, 3.0).result()
        together = sum(pool.map(_products, [3.0, 3.0]))
    return together / alone


def _products(seconds: float) -> int:
    """Count the matrix products on one thread in that time."""
    torch.set_num_threads(1)
    a, count, end = torch.randn(512, 512), 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        torch.mm(a, a)
        count += 1
    return count


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _has_bf16() -> bool:
    try:
        with open("/proc/cpuinfo") as lines:
            flags = next(line for line in lines if line.startswith("flags"))
    except (OSError, StopIteration):
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
