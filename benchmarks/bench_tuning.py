"""A study on real Freeway with and without pruning, killed half-way and resumed, and an evaluation of its best trial.

    python benchmarks/bench_tuning.py --folder FOLDER [--trials 24] [--workers 2]

The studies try the same random points, so that only pruning differs. SIGKILL ends all processes of the first study when
a third of its trials have ended; then it is started again. Its best trial and the configured values are trained again
on new seeds and compared. A second start resumes. Episodes end after 800 frames, so these scores are not comparable
with others.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

from meme57.config import Parameters, parse_parameters
from meme57.files import write_json
from meme57.stopping import never
from meme57.tuning.evidence import compare
from meme57.tuning.result import study_record
from meme57.tuning.storage import latest, origin
from meme57.tuning.study import Place, open_study
from meme57.tuning.workers import run_study

PRUNERS = ("hyperband", "none", "successive_halving")
SETTINGS: dict[str, Any] = {
    "env": {
        "game": "Freeway", "num_envs": 8, "height": 36, "width": 36, "full_action_space": False,
        "max_episode_frames": 800,
    },
    "family": {"num_policies": 3, "gamma_max": 0.99, "gamma_min": 0.95, "beta_max": 0.05},
    "network": {
        "torso": "small", "small_channels": [8, 16], "lstm_size": 32, "head_size": 32, "feature_size": 32,
    },
    "novelty": {"channels": [4, 8], "rnd_size": 16, "hidden_size": 32},
    "bandit": {"scope": "shared"},
    "replay": {"period": 10, "capacity_sequences": 3_000, "min_sequences": 100, "samples_per_insert": 2},
    "actors": {"weights_period_steps": 10},
    "learner": {
        "batch_size": 8, "learning_rate": 5e-4, "adam_eps": 1e-5, "weight_decay": 0.0, "target_period_updates": 50,
    },
    "tune": {
        "frames": 27_000,
        "report_period_frames": 3_000,
        "checkpoint_period_frames": 9_000,
        "min_frames": 9_000,
        "sampler": "random",
        "evidence_seeds": [101, 102, 103, 104, 105],
        "space": [
            {"name": "learner.learning_rate", "type": "log_float", "low": 3e-5, "high": 1e-2},
            {"name": "learner.target_period_updates", "type": "log_int", "low": 10, "high": 300},
            {"name": "family.beta_max", "type": "log_float", "low": 0.003, "high": 0.3},
            {"name": "loss.trust_region", "type": "categorical", "choices": [True, False]},
        ],
    },
}  # fmt: skip


def settings(pruner: str, arguments: argparse.Namespace) -> Parameters:
    """Return the parameters of this pruner's study."""
    study = {"study": f"Freeway-{pruner}", "pruner": pruner, "num_trials": arguments.trials}
    return parse_parameters({**SETTINGS, "tune": {**SETTINGS["tune"], **study, "workers": arguments.workers}})


def place_of(parameters: Parameters, folder: Path) -> Place:
    """Return the study's own folder."""
    return Place(folder / parameters.study_name / "study.journal", folder / parameters.study_name / "trials")


def work(parameters: Parameters, place: Place) -> None:
    """Do what `kedro run --pipelines tune` does, in a process that can be killed."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    run_study(parameters, place, lambda: False)


def run(parameters: Parameters, place: Place, *, kill_after: int | None) -> None:
    """Run the study to its end; with `kill_after`, kill it once that many trials have ended, and start it again."""
    context = multiprocessing.get_context("spawn")
    while True:
        process = context.Process(target=work, args=(parameters, place))
        process.start()
        while process.is_alive():
            process.join(1.0)
            if kill_after is not None and num_ended(parameters, place) >= kill_after:
                assert process.pid is not None
                os.kill(process.pid, signal.SIGKILL)  # its workers notice and end immediately
                process.join()
                kill_after = None
                print(f"{parameters.study_name}: killed", flush=True)
                break
        else:
            if process.exitcode:
                raise SystemExit(f"{parameters.study_name} ended with {process.exitcode}")
            return


def num_ended(parameters: Parameters, place: Place) -> int:
    """Count the finished trials."""
    if not place.journal.exists():
        return 0
    return sum(trial.state.is_finished() for trial in latest(open_study(parameters, place).trials))


def figures(parameters: Parameters, place: Place) -> dict[str, Any]:
    """Return frames, states, best, and whether every trial ended exactly once."""
    study = open_study(parameters, place)
    record = study_record(study, parameters)
    ends = Counter(origin(trial) for trial in study.trials if trial.state.name in ("COMPLETE", "PRUNED"))
    scores = sorted((trial["score"] for trial in record["trials"] if trial["score"] is not None), reverse=True)
    return {
        "frames": record["frames"],
        "states": record["states"],
        "requeued": len(study.trials) - len(record["trials"]),
        "ended_once": all(ends[trial["trial"]] == 1 for trial in record["trials"]),
        "best": record["best"],
        "score": record["score"],
        "best_three_scores": scores[:3],
    }


def main() -> None:
    """Run the studies and the comparison, print the figures, and store them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    results: dict[str, Any] = {}
    for pruner in PRUNERS:
        parameters = settings(pruner, arguments)
        place = place_of(parameters, arguments.folder)
        fresh, start = num_ended(parameters, place) == 0, time.monotonic()
        run(parameters, place, kill_after=arguments.trials // 3 if fresh and pruner == PRUNERS[0] else None)
        results[pruner] = {**figures(parameters, place), "seconds_of_this_start": time.monotonic() - start}
        write_json(arguments.folder / "results.json", results)
    parameters = settings(PRUNERS[0], arguments)
    best, scale = (results[PRUNERS[0]][key] for key in ("best", "score"))
    results["evidence"] = compare(parameters, best["values"], arguments.folder / "evidence", never, scale=scale)
    write_json(arguments.folder / "results.json", results)
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
