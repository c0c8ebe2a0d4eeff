"""What people would pick instead, against the clock: CleanRL's PQN with an LSTM, its public script as it is.

    curl -LO \\
      https://raw.githubusercontent.com/vwxyzjn/cleanrl/fe8d8a03c41a7ef5b523e2e354bd01c363e786bb/cleanrl/pqn_atari_envpool_lstm.py
    python3 -m venv .venv-pqn && .venv-pqn/bin/pip install -r benchmarks/peers/requirements-pqn.txt
    .venv-pqn/bin/python benchmarks/peers/pqn.py pqn_atari_envpool_lstm.py --game Pong --seed 1 --out rows.csv

The script is not part of this project. It runs with its defaults, ten million steps for the schedules among them, and
logs once a round; there this file plays greedy games, and ends the run when the time is up. It imports no meme57.
"""

from __future__ import annotations

import argparse
import runpy
import sys
import types
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import envpool
import torch

from peers.rows import EPISODE_FRAMES, EPISODES, Clock, append, parser

SEED = 1_600_000_001
FRAME_SKIP = 4
SECONDS_BETWEEN = 180
LAST_OF_ROUND = "charts/SPS"
"""What the script logs at the end of each round."""


class Scores:
    """Stands in for TensorBoard's writer: scores the script's network every three minutes of learning."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options, self._clock = options, Clock()
        self._period = min(float(SECONDS_BETWEEN), 60 * options.minutes)
        self._next = self._period

    def add_text(self, *_: object) -> None:
        """Drop it."""

    def add_scalar(self, name: str, _: object, step: int) -> None:
        """Score the network at the end of a round, if it is time."""
        if name != LAST_OF_ROUND or self._clock.seconds < self._next:
            return
        self._next += self._period
        network = sys._getframe(1).f_globals["q_network"]
        with self._clock:
            returns = greedy_games(network, self._options.game)
        identity = "pqn", self._options.game, self._options.seed
        append(self._options.out, identity, self._clock, FRAME_SKIP * step, returns)
        if self._clock.seconds >= 60 * self._options.minutes:
            raise SystemExit


@torch.no_grad()
def greedy_games(network: Any, game: str) -> list[float]:
    """Play ten whole games, the first of each environment, with the best actions; return their points."""
    games = envpool.make(
        f"{game}-v5", env_type="gym", num_envs=EPISODES, seed=SEED, stack_num=1,
        episodic_life=False, reward_clip=False, max_episode_steps=EPISODE_FRAMES // FRAME_SKIP,
    )  # fmt: skip
    size = network.lstm.num_layers, EPISODES, network.lstm.hidden_size
    state, done = (torch.zeros(size), torch.zeros(size)), torch.zeros(EPISODES)
    observed, points, is_over = games.reset(), torch.zeros(EPISODES), torch.zeros(EPISODES, dtype=torch.bool)
    while not is_over.all():
        q, state = network(torch.as_tensor(observed, dtype=torch.float32), state, done)
        observed, _, ended, facts = games.step(q.argmax(-1).numpy())
        points += torch.as_tensor(facts["reward"]) * ~is_over
        is_over |= torch.as_tensor(ended)
        done = torch.as_tensor(ended, dtype=torch.float32)
    games.close()
    return [float(value) for value in points]


def main() -> None:
    """Run the script until the time is up."""
    options = _parser().parse_args()
    stand_in = types.ModuleType("torch.utils.tensorboard")
    stand_in.__dict__["SummaryWriter"] = lambda *_: Scores(options)
    sys.modules[stand_in.__name__] = stand_in
    sys.argv = [options.script, "--env-id", f"{options.game}-v5", "--seed", str(options.seed), "--no-cuda"]
    runpy.run_path(options.script, run_name="__main__")


def _parser() -> argparse.ArgumentParser:
    made = parser(__doc__)
    made.add_argument("script", help="pqn_atari_envpool_lstm.py of CleanRL")
    return made


if __name__ == "__main__":
    main()
