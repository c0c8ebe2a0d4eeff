"""What the network reads beside the image: one table, over which replay, actors, learner and export loop.

A new input is an entry of `INPUTS`, a field of `Inputs`, and its value in `actors.player`.
"""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

import numpy as np

Array = TypeVar("Array")


class Kind(NamedTuple):
    """How an input is kept; how it is encoded: `network.FeatureEncoder`."""

    dtype: type[np.generic]
    """In memory."""
    stored: type[np.generic]
    """In files."""
    is_vector: bool = False
    """As many numbers as an action-prediction embedding has, instead of one."""

    def shape(self, leading: tuple[int, ...], embedding_size: int) -> tuple[int, ...]:
        """The whole shape behind any leading dimensions."""
        return (*leading, embedding_size) if self.is_vector else leading


ACTION = Kind(np.int64, np.int16)
REWARD = Kind(np.float32, np.float32)
EMBEDDING = Kind(np.float16, np.float16, is_vector=True)  # float16 so that acting and learning see the same

INPUTS = {
    "action": ACTION,
    "reward": REWARD,
    "intrinsic": REWARD,
    "lifelong": REWARD,
    "episodic": REWARD,
    "embedding": EMBEDDING,
}


class Inputs(NamedTuple, Generic[Array]):
    """The inputs of a step, what the previous one left behind: arrays or tensors, in the order of `INPUTS`.

    Zeros at an episode's start, where `action` is the number of actions. Source: MEME appendix B.2 [paper].
    """

    action: Array  # [...]
    reward: Array  # [...] extrinsic
    intrinsic: Array  # [...]
    lifelong: Array  # [...] the RND component of the intrinsic reward
    episodic: Array  # [...] the episodic component
    embedding: Array  # [..., embedding_size]
