"""The network's inputs other than the image: one table, over which replay, actors, learner and export loop.

A new input is an entry of `INPUTS`, a field of `Inputs`, and its value in `left_behind`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar

import numpy as np

Array = TypeVar("Array")


class Kind(NamedTuple):
    """How an input is stored. `network.FeatureEncoder` says how it is encoded."""

    dtype: type[np.generic]
    """Type in memory."""
    stored: type[np.generic]
    """Type in files."""
    is_vector: bool = False
    """True where the input has as many numbers as an action-prediction embedding, instead of one."""

    def shape(self, leading: tuple[int, ...], embedding_size: int) -> tuple[int, ...]:
        """Return the whole shape: the leading dimensions, then those of the input."""
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
    """The inputs of a step, which come from the previous step: arrays or tensors, in the order of `INPUTS`.

    Zeros at an episode's start, except that `action` is the number of actions. Source: MEME appendix B.2 [paper].
    """

    action: Array  # [...]
    reward: Array  # [...] extrinsic
    intrinsic: Array  # [...]
    lifelong: Array  # [...] the RND component of the intrinsic reward
    episodic: Array  # [...] the episodic component
    embedding: Array  # [..., embedding_size]


def left_behind(action: Array, reward: Array, novelty: Iterable[Array]) -> Inputs[Array]:
    """Gather the inputs that a step leaves to the next one.

    Args:
        action: [...].
        reward: [...] extrinsic.
        novelty: intrinsic reward, lifelong and episodic component [...], embedding [..., embedding_size].
    """
    intrinsic, lifelong, episodic, embedding = novelty
    return Inputs(
        action=action,
        reward=reward,
        intrinsic=intrinsic,
        lifelong=lifelong,
        episodic=episodic,
        embedding=embedding,
    )
