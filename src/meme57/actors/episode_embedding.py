"""The embedding network of each unfinished episode."""

from __future__ import annotations

import copy
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.func import functional_call

from meme57.agent.novelty import NoveltyNetworks, as_stored
from meme57.agent.transfer import upload


class EpisodeEmbedding:
    """Embeds frames of E environments; an episode keeps the network that it began with.

    If the weights changed, the episode's memory would be useless: every frame would look new. Source: NGU table 6,
    "Embeddings target update period: once/episode" [inherited].

    Each environment's weights are stacked with those of the others: one pass serves all, however many versions there
    are. While there is one version, a plain network serves them.
    """

    def __init__(self, novelty: NoveltyNetworks, num_envs: int) -> None:
        self._novelty = novelty
        self._network = copy.deepcopy(novelty.embedder())
        self._weights = {
            name: torch.zeros(num_envs, *value.shape, device=value.device)
            for name, value in self._network.state_dict().items()
        }
        self._versions = np.zeros(num_envs, np.int64)
        self._is_one_version = False

    def embed(self, frames: Tensor, is_first: npt.NDArray[np.bool_]) -> Tensor:
        """Embed frames [E, H, W] -> [E, D]; `is_first` [E] is True where the frame begins an episode."""
        if is_first.any():
            self._keep_newest(is_first, frames.device)
        if self._is_one_version:
            return as_stored(self._network(frames))
        embedding: Tensor = torch.vmap(partial(functional_call, self._network))(self._weights, frames.unsqueeze(1))
        return as_stored(embedding.squeeze(1))

    def _keep_newest(self, which: npt.NDArray[np.bool_], device: torch.device) -> None:
        newest = self._novelty.embedder().state_dict()
        (rows,) = upload([np.flatnonzero(which)], device)
        for name, value in newest.items():
            self._weights[name][rows] = value
        self._versions[which] = self._novelty.num_loads
        self._is_one_version = bool((self._versions == self._novelty.num_loads).all())
        if self._is_one_version:
            self._network.load_state_dict(newest)
