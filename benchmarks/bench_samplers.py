"""Samplers on mixed problems: best value after 60 trials, 20 of them random, and CPU seconds per suggestion.

    python benchmarks/bench_samplers.py [--results PATH] [--seeds 10] [--minutes 60]

For each seed, the first 20 trials are the same random points for every sampler. Each finished (problem, sampler, seed)
is a line of the results file; a second start runs only what is missing. All problems are minimised.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from meme57.tuning.samplers import make_sampler

NUM_TRIALS, NUM_RANDOM = 60, 20
SAMPLERS = ("pr", "gp", "tpe", "random")
LEVELS = np.linspace(-2.1, 2.3, 4)
_TABLES = np.random.default_rng(57)
UNARY = _TABLES.normal(size=(4, 5))
PAIRWISE = _TABLES.normal(size=(4, 4, 5, 5)) * 0.5
CENTRES = _TABLES.uniform(-1, 1, size=(5, 3))


def ackley(trial: optuna.Trial) -> float:
    """Compute Ackley's function of 10 parameters in {0, 1} and 3 continuous ones in [-1, 1]; the minimum is 0."""
    binary = [trial.suggest_int(f"b{k}", 0, 1) for k in range(10)]
    x = np.array(binary + [trial.suggest_float(f"x{k}", -1, 1) for k in range(3)], dtype=float)
    wave = np.cos(2 * math.pi * x).mean()
    return float(20 + math.e - 20 * np.exp(-0.2 * np.sqrt((x**2).mean())) - np.exp(wave))


def rosenbrock(trial: optuna.Trial) -> float:
    """Compute Rosenbrock / 20,000 of 6 ordered parameters (4 levels on [-2.1, 2.3]) and 4 continuous on [-2, 2]."""
    ordered = [LEVELS[trial.suggest_int(f"o{k}", 0, 3)] for k in range(6)]
    x = np.array(ordered + [trial.suggest_float(f"x{k}", -2, 2) for k in range(4)], dtype=float)
    return float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum() / 20_000)


def categorical(trial: optuna.Trial) -> float:
    """Add up random tables of 4 parameters with five choices and a bowl in 3 dimensions that one of them moves."""
    choices = [trial.suggest_categorical(f"c{k}", list(range(5))) for k in range(4)]
    x = np.array([trial.suggest_float(f"x{k}", -1, 1) for k in range(3)])
    total = sum(UNARY[k, c] for k, c in enumerate(choices))
    total += sum(PAIRWISE[i, j, choices[i], choices[j]] for i in range(4) for j in range(i))
    return float(total + ((x - CENTRES[choices[0]]) ** 2).sum())


PROBLEMS: dict[str, Callable[[optuna.Trial], float]] = {
    "ackley": ackley,
    "rosenbrock": rosenbrock,
    "categorical": categorical,
}


def run(problem: str, sampler: str, seed: int, num_trials: int = NUM_TRIALS) -> dict[str, Any]:
    """Run one study; return the best value after each trial, and the CPU seconds of each non-random suggestion."""
    study = optuna.create_study(sampler=make_sampler("random", seed=seed, n_startup_trials=0))
    tested = make_sampler(sampler, seed=seed + 1_000, n_startup_trials=NUM_RANDOM)
    best, seconds = [], []
    for number in range(num_trials):
        if number == NUM_RANDOM:
            study.sampler = tested
        start = time.process_time()
        trial = study.ask()
        value = PROBLEMS[problem](trial)
        seconds.append(time.process_time() - start)
        study.tell(trial, value)
        best.append(study.best_value)
    return {"problem": problem, "sampler": sampler, "seed": seed, "best": best, "seconds": seconds[NUM_RANDOM:]}


def table(rows: list[dict[str, Any]]) -> str:
    """Format median and quartiles of the best value, and the median CPU time, of the finished studies."""
    lines = [
        "| problem | sampler | seeds | best value: median (quartiles) | CPU seconds a suggestion: median |",
        "|---|---|---|---|---|",
    ]
    for problem in PROBLEMS:
        for sampler in SAMPLERS:
            found = [row for row in rows if (row["problem"], row["sampler"]) == (problem, sampler)]
            if found:
                low, median, high = np.quantile([row["best"][-1] for row in found], [0.25, 0.5, 0.75])
                seconds = np.median([value for row in found for value in row["seconds"]])
                lines.append(
                    f"| {problem} | {sampler} | {len(found)} | {median:.3f} ({low:.3f}, {high:.3f}) | {seconds:.3f} |"
                )
    return "\n".join(lines)


def main() -> None:
    """Run what is missing, seed by seed, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("bench_samplers.jsonl"))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=600.0, help="start no new study after this time")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    start = time.monotonic()
    text = arguments.results.read_text() if arguments.results.exists() else ""
    rows = [json.loads(line) for line in text.splitlines()]
    done = {(row["problem"], row["sampler"], row["seed"]) for row in rows}
    for seed in range(arguments.seeds):
        for problem in PROBLEMS:
            for sampler in SAMPLERS:
                late = time.monotonic() - start > 60 * arguments.minutes
                if late or (problem, sampler, seed) in done:
                    continue
                rows.append(run(problem, sampler, seed))
                with arguments.results.open("a") as stream:
                    stream.write(json.dumps(rows[-1]) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
