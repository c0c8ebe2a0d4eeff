"""Our agent against the clock: greedy games at each checkpoint, a row each.

    python benchmarks/peers/ours.py --game Pong --seed 1 --minutes 30 --out rows.csv

The agent is the laptop preset. `sb3.py` measures others in the same way.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from meme57.agent.network import MemeNetwork
from meme57.agent.novelty import NoveltyNetworks
from meme57.config import Parameters, parse_parameters
from meme57.config.tree import assign
from meme57.envs import env_spec
from meme57.errors import Interrupted
from meme57.evaluation.protocol import play_episodes
from meme57.learning.policies import Teacher
from meme57.learning.trainer import learn
from peers.rows import EPISODE_FRAMES, EPISODES, Clock, append, parser
from presets import preset

SEED = 1_600_000_001
MANY_FRAMES = 1_000_000_000


def main() -> None:
    """Learn until the time is up."""
    options = _parser().parse_args()
    parameters = _parameters(options)
    spec = env_spec(parameters.env)
    scored, clock = replace(spec, max_episode_frames=EPISODE_FRAMES), Clock()
    frames = 0

    def score(network: MemeNetwork, novelty: NoveltyNetworks) -> float:
        nonlocal frames
        frames += options.frames_between
        with clock:
            policy = Teacher(scored, network, novelty if parameters.novelty.enabled else None)
            played = play_episodes(policy.player, scored, episodes=EPISODES, num_envs=EPISODES, seed=SEED)
        returns = [episode.extrinsic_return for episode in played]
        append(options.out, ("meme57", options.game, options.seed), clock, frames, returns)
        return sum(returns) / len(returns)

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        try:
            for _ in learn(
                parameters, spec, Path(folder), evaluate=score, stop=lambda: clock.seconds > 60 * options.minutes
            ):
                pass
        except Interrupted:
            print("the time is up")


def _parameters(options: argparse.Namespace) -> Parameters:
    run = {"total_frames": MANY_FRAMES, "checkpoint_period_frames": options.frames_between, "seed": options.seed}
    named = {"env.game": options.game, **{f"run.{name}": value for name, value in run.items()}}
    return parse_parameters(assign(preset("laptop").tree(), named))


def _parser() -> argparse.ArgumentParser:
    made = parser(__doc__)
    made.add_argument("--frames-between", type=int, default=100_000, help="of two scores")
    return made


if __name__ == "__main__":
    main()
