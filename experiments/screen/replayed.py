"""Teach a new agent from the replay of a run that has ended, and let it play; append a row to data/replayed.csv.

    python experiments/screen/replayed.py NAME CHECKPOINTS [--env screen] [--seed 1] [--updates 3000] [--set ...]

CHECKPOINTS is a run's `data/06_models/RUN/checkpoints`. Only the learner runs: what is learned from does not depend on
what was learned, so two settings see the same experience. Stored LSTM states are of other weights: zeros replace them.
"""

from __future__ import annotations

import argparse
import resource
import sys
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

from screen import scores  # noqa: E402

from meme57.blueprint import agent_spec, make_replay  # noqa: E402
from meme57.checkpoints.store import newest_replay_index  # noqa: E402
from meme57.config import Parameters  # noqa: E402
from meme57.envs import EnvSpec, env_spec  # noqa: E402
from meme57.learning.learner import Learner  # noqa: E402
from meme57.learning.policies import Teacher  # noqa: E402
from meme57.replay import SequenceReplay, load_snapshot  # noqa: E402
from presets import preset, with_settings  # noqa: E402
from rows import append_row, commit  # noqa: E402
from values import play  # noqa: E402

ROWS = Path(__file__).parent / "data" / "replayed.csv"
FIT_SEQUENCES = 800


def experience(checkpoints: Path, parameters: Parameters, env: EnvSpec) -> SequenceReplay:
    """Load the replay of a run's newest checkpoint."""
    replay = make_replay(parameters, env)
    load_snapshot(replay, checkpoints / "replay", newest_replay_index(newest(checkpoints)))
    return replay


def newest(checkpoints: Path) -> Path:
    """Return the newest checkpoint's folder."""
    return max(checkpoints.glob("checkpoint-*"))


def teach(parameters: Parameters, env: EnvSpec, replay: SequenceReplay, *, updates: int) -> Learner:
    """Make updates from a replay that does not change, but for its priorities."""
    learner = Learner(parameters, agent_spec(parameters, env))
    rng = np.random.default_rng(parameters.run.seed)
    learner.fit_frames(torch.from_numpy(replay.sample(FIT_SEQUENCES, rng).frames).flatten(0, 1))
    for _ in range(updates):
        batch = replay.sample(parameters.learner.batch_size, rng)
        batch.lstm_state[:] = 0.0
        priorities, _ = learner.update(batch)
        replay.update_priorities(batch.sequence_ids, priorities)
    return learner


def main() -> None:
    """Learn, play, and append the row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("checkpoints", type=Path)
    parser.add_argument("--env", default="screen", help="the environment of conf/ whose agent this is")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--updates", type=int, default=3_000)
    parser.add_argument(
        "--steps", type=int, default=2_100, help="greedy steps of each of sixteen games; Freeway's have 2,048"
    )
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    options = parser.parse_args()
    torch.set_num_threads(1)
    game = Teacher.load(newest(options.checkpoints)).env.game
    parameters = with_settings(preset(options.env), {"env.game": game, "run.seed": options.seed}, options.set)
    env = env_spec(parameters.env)
    replay = experience(options.checkpoints, parameters, env)
    before = resource.getrusage(resource.RUSAGE_SELF)
    learner = teach(parameters, env, replay, updates=options.updates)
    after = resource.getrusage(resource.RUSAGE_SELF)
    teacher = Teacher(env, learner.network.eval(), learner.novelty)
    row = {
        "name": options.name,
        "game": game,
        "seed": options.seed,
        "replay_of": options.checkpoints.absolute().parent.name,
        "settings": "; ".join(options.set),
        "commit": commit(),
        "updates": options.updates,
        **scores(play(teacher, policy=0, steps=options.steps), float(agent_spec(parameters, env).family.gammas[0])),
        "cpu_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime),
    }
    append_row(ROWS, row)
    print(row)


if __name__ == "__main__":
    main()
