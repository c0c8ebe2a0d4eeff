"""Greedy evaluation during learning, which ranks checkpoints, and the length of its episodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from meme57.agent.network import MemeNetwork
from meme57.agent.novelty import NoveltyNetworks
from meme57.config import Parameters
from meme57.envs import EnvSpec, env_spec
from meme57.evaluation.protocol import mean_return
from meme57.learning.policies import Teacher
from meme57.learning.trainer import Evaluate
from meme57.stopping import never

CHECKPOINT_EVALUATION_SEED = 1_600_000_001
EPISODE_FRAMES = 27_000
"""Longest episode during learning, seven and a half minutes of play [ours]. Otherwise a greedy policy that stands still
in a game without a clock would play half an hour at every checkpoint."""


def shortened(spec: EnvSpec) -> EnvSpec:
    """Limit the game's episodes to `EPISODE_FRAMES`."""
    return replace(spec, max_episode_frames=min(spec.max_episode_frames, EPISODE_FRAMES))


def checkpoint_evaluation(parameters: Parameters, *, stop: Callable[[], bool] = never) -> Evaluate | None:
    """Make the function that scores a checkpoint by greedy episodes; None if training returns rank checkpoints."""
    episodes = parameters.learner.evaluation_episodes
    if episodes == 0:
        return None
    spec = shortened(env_spec(parameters.env))

    def evaluate(network: MemeNetwork, novelty: NoveltyNetworks) -> float:
        known = novelty if parameters.novelty.enabled else None
        teacher = Teacher(spec, network, known, temperature=parameters.evaluate.temperature)
        is_training = network.training
        network.eval()  # a torso that folds factors into its weights does so once, and not at each step
        try:
            return mean_return(
                teacher.player, spec, episodes=episodes, num_envs=episodes, seed=CHECKPOINT_EVALUATION_SEED, stop=stop
            )
        finally:
            network.train(is_training)

    return evaluate
