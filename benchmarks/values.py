"""A policy's predicted returns compared with its real ones, along its own play, for each checkpoint.

    python benchmarks/values.py data/06_models/games-Boxing-s1/checkpoints/checkpoint-* [--policy 0] [--steps 1000]

It plays greedily, or with `--temperature` draws actions from its distilled policy. Sixteen games at once, seeds from
1,700,000,001. At each step, the untransformed value of the action that the policy prefers is compared with the
discounted sum of the rewards that follow. Steps near the last one are left out unless their episode ends: a reward
after the last step could still have a weight of more than 5 %. The score is the sum of all rewards of these steps,
averaged over the games.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from meme57.actors import Player
from meme57.actors.exploration import draw
from meme57.agent.family import PolicyFamily
from meme57.envs import make_env
from meme57.errors import Meme57Error
from meme57.files import read_json
from meme57.learning.policies import Teacher

SEED = 1_700_000_001
GAMES = 16
BEYOND = 0.05
Steps = npt.NDArray[np.float64]


class Play(NamedTuple):
    """T steps of E environments, each [T, E]."""

    predicted: Steps
    reward: Steps
    ended: npt.NDArray[np.bool_]
    """The step ended its episode."""
    idle: npt.NDArray[np.bool_]
    """The step only began the next episode: the action was ignored."""


def play(teacher: Teacher, *, policy: int, steps: int, temperature: float = 0.0) -> Play:
    """Play steps of one policy: greedily, or drawn from its distilled policy at a temperature."""
    env = make_env(teacher.env, num_envs=GAMES)
    player = Player(teacher.network, teacher.novelty, num_envs=GAMES)
    policies = np.full(GAMES, policy, np.int64)
    rows, rng = [], np.random.default_rng(SEED)
    try:
        with torch.inference_mode():
            player.begin(env.reset(seed=SEED))
            for _ in range(steps):
                preferred = player.preferences(policies).numpy()
                noise = rng.gumbel(size=preferred.shape)
                actions = draw(preferred, temperature, noise) if temperature else preferred.argmax(-1)
                predicted = player.predicted_returns().numpy()
                result = env.step(actions)
                player.observe(actions, result)
                rows.append((predicted, result.reward, result.terminated | result.truncated, result.is_reset))
    finally:
        env.close()
    return Play(*(np.array(column) for column in zip(*rows, strict=True)))


def discounted_returns(played: Play, gamma: float) -> tuple[Steps, npt.NDArray[np.bool_]]:
    """Sum discounted rewards from each step on [T, E]; also return whether nearly all of them were seen [T, E]."""
    horizon = math.ceil(math.log(BEYOND) / math.log(gamma))
    returns, whole = np.zeros(played.reward.shape), np.zeros(played.reward.shape, np.bool_)
    steps, envs = played.reward.shape
    following, ends = np.zeros(envs), np.zeros(envs, np.bool_)
    for step in reversed(range(steps)):
        following = played.reward[step] + gamma * np.where(played.ended[step], 0.0, following)
        ends = ends | played.ended[step]
        returns[step], whole[step] = following, ends | (step + horizon <= steps)
    return returns, whole & ~played.idle


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", type=Path)
    parser.add_argument("--policy", type=int, default=0)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--temperature", type=float, default=0.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| checkpoint | score so far | predicted | returned | root of mean squared error | correlation |")
    print("|---|---:|---:|---:|---:|---:|")
    for folder in options.checkpoints:
        try:
            teacher = Teacher.load(folder)
        except Meme57Error as error:
            parser.error(str(error))
        gammas = PolicyFamily.ladder(**read_json(folder / "agent.json")["family"]).gammas
        if not 0 <= options.policy < len(gammas):
            parser.error(f"--policy {options.policy}: {folder} has policies 0 to {len(gammas) - 1}")
        played = play(teacher, policy=options.policy, steps=options.steps, temperature=options.temperature)
        returns, whole = discounted_returns(played, float(gammas[options.policy]))
        if not whole.any():
            parser.error(f"--steps {options.steps}: too few to see all rewards of any step, take more")
        predicted, returned = played.predicted[whole], returns[whole]
        distance = math.sqrt(((predicted - returned) ** 2).mean())
        correlation = np.corrcoef(predicted, returned)[0, 1]
        score = played.reward.sum(0).mean()
        cells = f"{score:.1f} | {predicted.mean():.2f} | {returned.mean():.2f} | {distance:.2f} | {correlation:.2f}"
        print(f"| {'/'.join(folder.absolute().parts[-3::2])} | {cells} |")


if __name__ == "__main__":
    main()
