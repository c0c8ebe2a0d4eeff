"""What people would pick instead, against the clock: agents of Stable-Baselines3 and sb3-contrib.

    python3 -m venv .venv-peers && .venv-peers/bin/pip install -r benchmarks/peers/requirements.txt
    .venv-peers/bin/python benchmarks/peers/sb3.py --agent ppo --game Pong --seed 1 --minutes 30 --out rows.csv

Settings and wrappers are those of their zoo for Atari (rl-baselines3-zoo, hyperparams/ppo.yml and qrdqn.yml), with its
ten million steps for the schedules. Nothing of meme57 is imported.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import ale_py
import gymnasium
from sb3_contrib import QRDQN
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_atari_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecFrameStack

from peers.rows import EPISODE_FRAMES, EPISODES, Clock, append, parser

SEED = 1_600_000_001
FRAME_SKIP = 4
TOTAL_STEPS = 10_000_000
SECONDS_BETWEEN = 180
BUFFER = 400_000
"""Of QR-DQN; the zoo's million steps are 26 GiB. In half an hour of two cores it makes fewer steps than this."""


class Scores(BaseCallback):
    """Scores the policy every three minutes of learning, and ends the run when the time is up."""

    def __init__(self, options: argparse.Namespace, games: Any, clock: Clock) -> None:
        super().__init__()
        self._options, self._games, self._clock = options, games, clock
        self._period = min(float(SECONDS_BETWEEN), 60 * options.minutes)
        self._next = self._period

    def _on_step(self) -> bool:
        if self._clock.seconds < self._next:
            return True
        self._next += self._period
        with self._clock:
            returns, _ = evaluate_policy(
                self.model, self._games, n_eval_episodes=EPISODES, deterministic=True, return_episode_rewards=True
            )
        identity = self._options.agent, self._options.game, self._options.seed
        append(self._options.out, identity, self._clock, FRAME_SKIP * self.num_timesteps, returns)
        return self._clock.seconds < 60 * self._options.minutes


def main() -> None:
    """Learn until the time is up."""
    options = _parser().parse_args()
    gymnasium.register_envs(ale_py)
    name = f"{options.game}NoFrameskip-v4"
    games = VecFrameStack(
        make_atari_env(name, n_envs=EPISODES, seed=SEED, env_kwargs={"max_episode_steps": EPISODE_FRAMES}), n_stack=4
    )
    make = {"ppo": ppo, "qrdqn": qrdqn}[options.agent]
    agent = make(name, options.seed)
    agent.learn(TOTAL_STEPS, callback=Scores(options, games, Clock()))


def ppo(name: str, seed: int) -> PPO:
    """Make PPO with the zoo's settings for Atari."""
    env = VecFrameStack(make_atari_env(name, n_envs=8, seed=seed), n_stack=4)
    return PPO(
        "CnnPolicy", env, n_steps=128, n_epochs=4, batch_size=256, learning_rate=lambda left: 2.5e-4 * left,
        clip_range=lambda left: 0.1 * left, vf_coef=0.5, ent_coef=0.01, seed=seed,
    )  # fmt: skip


def qrdqn(name: str, seed: int) -> QRDQN:
    """Make QR-DQN with the zoo's settings for Atari."""
    env = VecFrameStack(make_atari_env(name, n_envs=1, seed=seed), n_stack=4)
    return QRDQN(
        "CnnPolicy", env, buffer_size=BUFFER, exploration_fraction=0.025, optimize_memory_usage=True,
        replay_buffer_kwargs={"handle_timeout_termination": False}, seed=seed,
    )  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    made = parser(__doc__)
    made.add_argument("--agent", choices=["ppo", "qrdqn"], required=True)
    return made


if __name__ == "__main__":
    main()
