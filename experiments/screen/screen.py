"""Run one short run without Kedro, then greedy games of its last checkpoint; append a row to data/runs.csv.

    python experiments/screen/screen.py NAME [--game Boxing] [--seed 1] [--set replay.samples_per_insert=24 ...]

The row has the score, and the predicted values beside the returns of greedy play (benchmarks/values.py).
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

from meme57.blueprint import policy_family  # noqa: E402
from meme57.envs import env_spec  # noqa: E402
from meme57.learning.policies import Teacher  # noqa: E402
from meme57.learning.progress import show_progress  # noqa: E402
from meme57.learning.trainer import learn  # noqa: E402
from presets import preset, with_settings  # noqa: E402
from rows import append_row, commit  # noqa: E402
from values import Play, discounted_returns, play  # noqa: E402

RUNS = Path(__file__).parent / "data" / "runs.csv"


def main() -> None:
    """Learn, play, and append the row."""
    options = _parser().parse_args()
    named = {"env.game": options.game, "run.seed": options.seed}
    parameters = with_settings(preset("screen"), named, options.set)
    env = env_spec(parameters.env)
    with tempfile.TemporaryDirectory() as folder:
        started, rows = time.monotonic(), list[dict[str, float]]()
        events = learn(parameters, env, Path(folder))
        for event in show_progress(events, total_frames=parameters.run.total_frames, title=options.name):
            rows += event.rows
        seconds, usage = time.monotonic() - started, resource.getrusage(resource.RUSAGE_SELF)
        newest = max(Path(folder).glob("checkpoint-*"))
        torch.set_num_threads(1)
        teacher, gamma = Teacher.load(newest), float(policy_family(parameters).gammas[0])
        greedy = scores(play(teacher, policy=0, steps=options.steps), gamma)
        drawn = scores(play(teacher, policy=0, steps=options.steps, temperature=1.0), gamma)
    row = {
        "name": options.name,
        "game": env.game,
        "seed": parameters.run.seed,
        "frames": parameters.run.total_frames,
        "settings": "; ".join(options.set),
        "commit": commit(),
        "updates": int(max(row["updates"] for row in rows)),
        "training": _second_half(rows, parameters.run.total_frames),
        "greedy": greedy.pop("score"),
        **greedy,
        "drawn": drawn["score"],
        "drawn_predicted": drawn["predicted"],
        "drawn_returned": drawn["returned"],
        "seconds": round(seconds),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime),
    }
    append_row(RUNS, row)
    print(row)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--game", default="Boxing")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=2_000, help="greedy steps of each of sixteen games")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    return parser


def _second_half(rows: list[dict[str, float]], total_frames: int) -> float | str:
    """Average the returns of all policies over the second half of training; an episode counts once."""
    ended = [row for row in rows if "episodes/return" in row and row["frames"] > total_frames / 2]
    if not (episodes := sum(row["episodes/finished"] for row in ended)):
        return ""
    return round(sum(row["episodes/return"] * row["episodes/finished"] for row in ended) / episodes, 2)


def scores(played: Play, gamma: float) -> dict[str, Any]:
    """Score whole episodes, and compare values with returns along them."""
    returned, whole = discounted_returns(played, gamma)
    predicted, returned = played.predicted[whole], returned[whole]
    finished = list(_whole_episodes(played))
    return {
        "score": round(fmean(finished), 2) if finished else "",
        "deviation": round(stdev(finished), 2) if len(finished) > 1 else "",
        "episodes": len(finished),
        "predicted": round(float(predicted.mean()), 3),
        "returned": round(float(returned.mean()), 3),
        "correlation": round(float(np.corrcoef(predicted, returned)[0, 1]), 2),
    }


def _whole_episodes(played: Play) -> list[float]:
    found = []
    for rewards, ended, idle in zip(played.reward.T, played.ended.T, played.idle.T, strict=True):
        ends = np.flatnonzero(ended).tolist()
        starts = [0, *(end + 1 for end in ends)]
        found += [float((rewards * ~idle)[start : end + 1].sum()) for start, end in zip(starts, ends, strict=False)]
    return found


if __name__ == "__main__":
    main()
