"""From parameters to the learner's replay and device."""

from __future__ import annotations

import torch

from meme57.config import Parameters
from meme57.envs import EnvSpec
from meme57.replay import SequenceReplay


def make_replay(parameters: Parameters, env: EnvSpec) -> SequenceReplay:
    """An empty replay for sequences of two periods."""
    chosen = parameters.replay
    return SequenceReplay(
        period=chosen.period,
        capacity_sequences=chosen.capacity_sequences,
        frame_shape=(env.height, env.width),
        lstm_size=parameters.network.lstm_size,
        embedding_size=parameters.novelty.embedding_size,
        num_actions=env.num_actions,
        priority_exponent=chosen.priority_exponent,
        importance_exponent=chosen.importance_exponent,
    )


def find_device() -> torch.device:
    """A CUDA device where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
