"""The exploration ladder: which built-in games are solved, with every part of the agent and with one left out.

    python benchmarks/exploration.py --processes 2 [--games DeepSea10 KeyDoor] [--seeds 1 2 3] [--variants full]
    python benchmarks/exploration.py --processes 2 --parts learning

The first leaves out parts of exploration, on all games; the second parts of learning, on two that are solved without
luck. A run is `--env ladder`, with `SETTINGS` in two games, for at most 320,000 frames. It is solved, and ends, when
the greedy policy 0 reaches the goal at two consecutive checkpoints (10,000 frames apart). One checkpoint alone could be
luck: of 32 random ways through DeepSea5 one reaches the goal, and a run has as many checkpoints. Every ended run is a
line of experiments/ladder/data/exploration.csv and is not run again, so the command resumes after a kill. `python
docs/generate` makes the tables of docs/results.md and docs/notebook.md from it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from meme57.config import Parameters
from meme57.config.games import TOY_GAMES
from meme57.envs import env_spec
from meme57.envs.toys import toy
from meme57.evaluation.ranking import checkpoint_evaluation
from meme57.executor import LocalExecutor
from meme57.learning.trainer import learn
from presets import ROOT, preset
from rows import append_row, commit, read_rows

RESULTS = ROOT / "experiments/ladder/data/exploration.csv"
PARTS: dict[str, dict[str, dict[str, Any]]] = {
    "exploration": {
        "full": {},
        "no intrinsic reward": {"novelty.enabled": False},
        "no family (one exploring policy)": {"family.num_policies": 2},
        "no bandit": {"bandit.enabled": False},
    },
    "learning": {
        "full": {},
        "no trust region": {"loss.trust_region": False},
        "target network instead": {"loss.bootstrap": "target", "loss.trust_region": False},
        "Retrace": {"loss.target": "retrace"},
        "Q(lambda)": {"loss.target": "q_lambda"},
        "no normalisation": {"loss.normalise_td": False},
        "no cross-mixture": {"loss.cross_mixture": False},
        "no distilled policy": {"loss.distil_policy": False},
    },
}
GAMES = {"exploration": TOY_GAMES, "learning": ("DeepSea5", "Corridor")}
# At the ladder's rate DeepSea20's values of rarely taken actions are learned too slowly (docs/notebook.md).
SETTINGS: dict[str, dict[str, Any]] = {game: {"learner.learning_rate": 0.003} for game in ("DeepSea20", "DeepSea30")}
SEEDS = tuple(range(1, 11))
SOLVED = 0.5


def ladder_parameters(changes: dict[str, Any]) -> Parameters:
    """Return the ladder's parameters, with dotted changes."""
    groups: dict[str, Any] = {}
    for dotted, value in changes.items():
        group, name = dotted.split(".")
        groups[group] = {**groups.get(group, {}), name: value}
    return preset("ladder", **groups)


def run(task: tuple[str, str, str, int]) -> dict[str, Any]:
    """Train one run until it is solved or its frames are used up."""
    parts, game, variant, seed = task
    side = max(16, *toy(game).grid.shape[1:])
    parameters = ladder_parameters(
        {
            **SETTINGS.get(game, {}), **PARTS[parts][variant],
            "env.game": game, "env.height": side, "env.width": side, "run.seed": seed,
        }
    )  # fmt: skip
    folder = Path(tempfile.mkdtemp())
    start, code = time.process_time(), commit()
    greedy, frames, solved = [0.0], 0, False
    try:
        events = learn(parameters, env_spec(parameters.env), folder, evaluate=checkpoint_evaluation(parameters))
        for event in events:
            frames = event.frames
            greedy += [row["evaluation/return"] for row in event.rows if "evaluation/return" in row]
            if solved := min(greedy[-2:]) > SOLVED:
                break
    finally:
        shutil.rmtree(folder)
    return {
        "parts": parts, "game": game, "variant": variant, "seed": seed, "solved": int(solved), "frames": frames,
        "best_return": round(max(greedy), 4), "cpu_seconds": round(time.process_time() - start), "commit": code,
    }  # fmt: skip


def run_and_record(task: tuple[str, str, str, int]) -> None:
    """Add the line of one run, as soon as it has ended."""
    row = run(task)
    append_row(RESULTS, row)
    print(json.dumps(row), flush=True)


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", default="exploration", choices=list(PARTS))
    parser.add_argument("--games", nargs="+", choices=list(TOY_GAMES))
    parser.add_argument("--variants", nargs="+", help="by default all of --parts")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    variants, games = options.variants or list(PARTS[options.parts]), options.games or GAMES[options.parts]
    if unknown := set(variants) - set(PARTS[options.parts]):
        parser.error(f"--variants {unknown}: --parts {options.parts} has {', '.join(PARTS[options.parts])}")
    done = {(row["game"], row["variant"], int(row["seed"])) for row in read_rows(RESULTS)}
    tasks = [(options.parts, g, v, s) for s in options.seeds for g in games for v in variants]
    missing = [task for task in tasks if task[1:] not in done]
    outcomes = LocalExecutor(options.processes).run(run_and_record, missing)
    if errors := [outcome.error for outcome in outcomes if outcome.error is not None]:
        parser.exit(1, f"{len(errors)} of {len(missing)} runs have no result: {errors[0]}\n")


if __name__ == "__main__":
    main()
