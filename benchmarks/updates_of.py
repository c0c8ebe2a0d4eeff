"""Times updates of the meme57 in a folder, this one or a clone at another commit; prints JSON. For `bench_update.py`.

python benchmarks/updates_of.py FOLDER BATCH_SIZE UPDATES [profile]
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

FOLDER = Path(sys.argv[1])
sys.path[:0] = [str(FOLDER / "src"), str(FOLDER / "benchmarks")]  # before this folder's own

import torch  # noqa: E402
from torch.profiler import ProfilerActivity, profile  # noqa: E402

import meme57  # noqa: E402
from bench_learner import SETTINGS, Update, parameters_of  # noqa: E402

WARM_UP = 5


def main() -> None:
    """Make the updates, and with the last word profile as many more."""
    assert Path(meme57.__file__).is_relative_to(FOLDER), "another meme57 was imported"
    torch.set_num_threads(1)
    batch_size, count = int(sys.argv[2]), int(sys.argv[3])
    setting = SETTINGS["laptop 16 x 20"]
    update = Update(parameters_of({**setting, "learner": {"batch_size": batch_size}}, "float32"))
    for _ in range(WARM_UP):
        update()
    seconds = []
    for _ in range(count):
        start = time.process_time()
        update()
        seconds.append(time.process_time() - start)
    found = operations(update, count) if sys.argv[4:] == ["profile"] else []
    print(json.dumps({"seconds": seconds, "operations": found}))


def operations(update: Update, count: int) -> list[dict[str, Any]]:
    """Return calls and milliseconds an update of each operation, without those it calls."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(count):
            update()
    return [
        {"name": row.key, "calls": row.count / count, "ms": row.self_cpu_time_total / 1e3 / count}
        for row in profiler.key_averages()
    ]


if __name__ == "__main__":
    main()
