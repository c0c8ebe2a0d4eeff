"""The embedding network of each unfinished episode."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from meme57.agent.novelty import NoveltyNetworks


class EpisodeEmbedding:
    """Embeds frames of E environments; an episode keeps the network that it began with.

    If the weights changed, the episode's memory would be useless: every frame would look new. Source: NGU table 6,
    "Embeddings target update period: once/episode" [inherited].
    """

    def __init__(self, novelty: NoveltyNetworks, num_envs: int) -> None:
        self._novelty, self._num_envs = novelty, num_envs
        self._kept: dict[int, Callable[[Tensor], Tensor]] = {}
        self._versions = np.zeros(num_envs, np.int64)
        self._rows: dict[int, Tensor] = {}

    def embed(self, frames: Tensor, is_first: npt.NDArray[np.bool_]) -> Tensor:
        """Embed frames [E, H, W] -> [E, D]; `is_first` [E] is True where the frame begins an episode."""
        version = self._novelty.num_loads
        if is_first.any():
            self._versions[is_first] = version
            in_use = set(self._versions.tolist())
            self._kept = {known: embed for known, embed in self._kept.items() if known in in_use}
            if version not in self._kept:
                self._kept[version] = self._novelty.kept_embedding()
            self._rows = {known: self._rows_of(known).to(frames.device, non_blocking=True) for known in self._kept}
        if len(self._kept) == 1:
            return self._kept[int(self._versions[0])](frames)
        embedding = torch.empty(self._num_envs, self._novelty.spec.embedding_size, device=frames.device)
        for known, embed in self._kept.items():
            rows = self._rows[known]
            embedding[rows] = embed(frames[rows])
        return embedding

    def _rows_of(self, version: int) -> Tensor:
        return torch.from_numpy(np.flatnonzero(self._versions == version))
