"""NGU's intrinsic reward: episodic novelty on a controllable embedding, times lifelong novelty by RND."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from meme57.agent.frames import FrameNormaliser
from meme57.agent.parameters import NoveltySpec
from meme57.agent.torso import small_torso
from meme57.agent.transfer import upload

LONG = 2048
"""From so many entries on, a CPU searches each memory by itself, as far as it is filled: bytes cost more than calls."""


class NoveltyReward(NamedTuple):
    """The reward of E environments and its components."""

    intrinsic: Tensor  # [E] episodic * clip(lifelong, 1, L)
    lifelong: Tensor  # [E] alpha_rnd, clipped
    episodic: Tensor  # [E]
    embedding: Tensor  # [E, D]


def episodic_reward(
    squared_distances: Tensor,
    running_mean: Tensor,
    *,
    kernel_eps: float,
    cluster_distance: float,
    pseudo_count: float,
    max_similarity: float,
) -> Tensor:
    """Compute r = 1 / s, s = sqrt(sum_k K_k) + c; r is 0 where s > max_similarity or there is no neighbour.

        K_k = eps / (max(d_k / running_mean - cluster_distance, 0) + eps)

    Args:
        squared_distances: [..., K] to the nearest neighbours; +inf where there are fewer than K, never NaN.
        running_mean: [] of the squared distances; floored at 1e-8.

    Returns:
        [...].

    Source: NGU algorithm 1 [inherited].
    """
    distances = squared_distances / running_mean.clamp_min(1e-8)
    kernel = kernel_eps / ((distances - cluster_distance).clamp_min(0.0) + kernel_eps)  # 0 at an infinite distance
    similarity = kernel.sum(-1).sqrt() + pseudo_count
    novel = (similarity <= max_similarity) & (squared_distances.amin(-1) < torch.inf)
    return novel / similarity


class NoveltyNetworks(nn.Module):
    """The embedding f with its inverse model, and the RND pair with the running statistics of its error."""

    def __init__(self, spec: NoveltySpec) -> None:
        super().__init__()
        self.spec = spec
        self.frames = FrameNormaliser(spec.height, spec.width, spec.frame_dtype)
        self.embedding = _encoder(spec, spec.embedding_size)
        self.inverse = nn.Sequential(
            nn.Linear(2 * spec.embedding_size, spec.hidden_size),
            nn.ReLU(),
            nn.Linear(spec.hidden_size, spec.num_actions),
        )
        self.rnd_target = _encoder(spec, spec.rnd_size).requires_grad_(False)
        self.rnd_predictor = _encoder(spec, spec.rnd_size)
        self.num_loads = 0
        """How often weights were loaded. Whoever holds a copy compares it, to see whether the copy is out of date."""
        self.register_buffer("error_mean", torch.zeros(()))
        self.register_buffer("error_square", torch.zeros(()))
        self.register_buffer("error_count", torch.zeros(()))
        self.error_mean: Tensor
        self.error_square: Tensor
        self.error_count: Tensor

    def load_state_dict(self, *arguments: Any, **options: Any) -> Any:
        """Load as any module does, and count the load."""
        self.num_loads += 1
        return super().load_state_dict(*arguments, **options)

    def embed(self, frames: Tensor) -> Tensor:
        """Embed the controllable state: uint8 [M, H, W] -> [M, D]."""
        out: Tensor = self.embedding(self.frames(frames))
        return out

    def act_embed(self, frames: Tensor) -> Tensor:
        """Embed as actors use, remember and store it: rounded to float16.  [M, H, W] -> [M, D] float32."""
        return as_stored(self.embed(frames))

    def embedder(self) -> nn.Sequential:
        """Return the part that embeds, with the same weights: uint8 [M, H, W] -> [M, D], before `as_stored`."""
        return nn.Sequential(self.frames, self.embedding)

    def rnd_error(self, frames: Tensor) -> Tensor:
        """Compute the mean squared prediction error: uint8 [M, H, W] -> [M]."""
        images = self.frames(frames)
        error: Tensor = (self.rnd_predictor(images) - self.rnd_target(images)).square().mean(-1)
        return error

    def lifelong(self, error: Tensor, moments: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Compute alpha = 1 + (error - mean) / std, clipped to [1, L]; 1 before any statistics.  [M] -> [M].

        Args:
            error: [M] of `rnd_error`.
            moments: what `error_moments` returned since the last load, which saves its computation.
        """
        mean, std = moments or self.error_moments()
        return (1.0 + (error - mean) / std).clamp(1.0, self.spec.max_modulation)

    def error_moments(self) -> tuple[Tensor, Tensor]:
        """Return running mean and deviation of the RND error, [] each; before any statistics the mean is infinite."""
        weight = 1.0 - self._decay**self.error_count
        safe = weight.clamp_min(1e-8)
        mean = self.error_mean / safe
        std = (self.error_square / safe - mean.square()).clamp_min(1e-12).sqrt()
        return mean.masked_fill(self.error_count == 0, torch.inf), std.clamp_min(1e-8)

    def update_statistics(self, error: Tensor, mask: Tensor) -> None:
        """Add the masked-in errors [M], if any, to the exponential moments (decay 0.99 per batch [ours])."""
        any_present = mask.any()
        kept = error.detach().masked_fill(~mask, 0.0)
        count = mask.sum().clamp_min(1)
        weight = (1.0 - self._decay) * any_present
        self.error_mean.lerp_(kept.sum() / count, weight)
        self.error_square.lerp_(kept.square().sum() / count, weight)
        self.error_count.add_(any_present)

    def losses(self, frames: Tensor, actions: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the inverse-model loss, the RND loss, and the RND errors.

        Args:
            frames: [K+1, B, H, W] uint8, consecutive observations.
            actions: [K, B] long, taken between them.
            mask: [K, B] bool, True at real steps.

        Returns:
            (inverse-model cross-entropy [], RND loss [], RND errors [K, B] of the observations that steps led to).
        """
        num_steps, batch = actions.shape
        weights = mask.float() / mask.sum().clamp_min(1)
        embedded = self.embed(frames.flatten(0, 1)).view(num_steps + 1, batch, -1)
        logits = self.inverse(torch.cat([embedded[:-1], embedded[1:]], dim=-1))
        entropy = functional.cross_entropy(logits.flatten(0, 1), actions.flatten(), reduction="none").view_as(weights)
        error = self.rnd_error(frames[1:].flatten(0, 1)).view_as(weights)
        return (entropy * weights).sum(), (error * weights).sum(), error

    @property
    def _decay(self) -> float:
        return 0.99


def as_stored(embedding: Tensor) -> Tensor:
    """Round to float16, in which embeddings are stored."""
    return embedding.half().float()


class EpisodicMemory:
    """The embeddings of the current episode of each of E environments, as rings, and the nearest-neighbour reward.

    Neighbours are found by a matrix product. Their distances are then computed from differences, so a frame that was
    seen before is at distance exactly 0: where the running mean is tiny, a rounding error would look novel.

    On a CPU a long memory does not store again what it holds K times already, K being the number of neighbours [ours]:
    a game that stands still stays cheap. More copies change no reward, until an episode is longer than the memory: then
    what is kept reaches further back.

    The running mean of squared neighbour distances is shared by the environments and survives episodes; it is an
    exponential average with bias correction [ours].
    """

    def __init__(self, spec: NoveltySpec, num_envs: int, *, device: torch.device | str = "cpu") -> None:
        self._spec = spec
        self._num_envs = num_envs
        self._capacity = min(1024, spec.memory_size)
        self._memory = torch.zeros(num_envs, self._capacity, spec.embedding_size, device=device)
        self._norms = torch.full((num_envs, self._capacity), torch.inf, device=device)
        self._counts = torch.zeros(num_envs, dtype=torch.long)  # on the host, which knows them without asking
        self._copies: list[Counter[bytes] | None] = [None] * num_envs
        self._all = torch.arange(num_envs)
        self._rows = self._all.to(device)
        self._distance_sum = torch.zeros((), device=device)
        self._distance_weight = torch.zeros((), dtype=torch.float64, device=device)

    def reset(self, which: Tensor) -> None:
        """Clear the memory of the environments where `which` [E] bool, on the host, is True."""
        (cleared,) = upload([which.numpy()], self._norms.device)
        self._norms.masked_fill_(cleared.unsqueeze(-1), torch.inf)
        self._counts[which] = 0
        for i in which.numpy().nonzero()[0].tolist():
            self._copies[i] = None

    def reward(self, embedding: Tensor) -> Tensor:
        """Compute the episodic reward of the new embeddings [E, D] -> [E], then add them to the memory."""
        used = int(self._counts.max().clamp_max(self._capacity))
        distances = self._nearest(embedding, used)
        self._track(distances)
        mean = self._distance_sum / self._distance_weight.clamp_min(1e-8).float()
        reward = episodic_reward(
            distances, mean,
            kernel_eps=self._spec.kernel_eps, cluster_distance=self._spec.cluster_distance,
            pseudo_count=self._spec.pseudo_count, max_similarity=self._spec.max_similarity,
        )  # fmt: skip
        self._remember(embedding)
        return reward

    def _nearest(self, embedding: Tensor, used: int) -> Tensor:
        if used == 0:
            return torch.full((self._num_envs, 1), torch.inf, device=embedding.device)
        nearest = self._nearness(embedding, used).topk(min(self._spec.num_neighbours, used), dim=-1, largest=False)
        neighbours = self._memory.gather(1, nearest.indices.unsqueeze(-1).expand(-1, -1, embedding.shape[-1]))
        exact = (neighbours - embedding.unsqueeze(1)).square().sum(-1)
        return exact.masked_fill(nearest.values == torch.inf, torch.inf)

    def _nearness(self, embedding: Tensor, used: int) -> Tensor:
        """Return the squared distances to the memory [E, used], each less the new embedding's own squared norm."""
        if used < LONG or embedding.device.type != "cpu":
            products = torch.bmm(self._memory[:, :used], embedding.unsqueeze(-1)).squeeze(-1)
            return self._norms[:, :used] - 2.0 * products
        near = self._norms.new_full((self._num_envs, used), torch.inf)
        for i, count in enumerate(self._counts.clamp_max(used).tolist()):
            norms, memory = self._norms[i, :count], self._memory[i, :count]
            torch.addmv(norms, memory, embedding[i], alpha=-2.0, out=near[i, :count])
        return near

    def _track(self, distances: Tensor) -> None:
        """Add the distances to the running mean, if there are any. The device decides, so the host does not wait."""
        present = distances < torch.inf
        count = present.sum()
        decay, any_present = self._spec.distance_decay, count > 0
        mean = distances.nan_to_num(posinf=0.0).sum() / count.clamp_min(1)
        total, weight = self._distance_sum, self._distance_weight
        # in place: another stream than today's may have made these tensors, and could use their memory again at once
        torch.where(any_present, decay * total + (1.0 - decay) * mean, total, out=total)
        torch.where(any_present, decay * weight + (1.0 - decay), weight, out=weight)

    def _remember(self, embedding: Tensor) -> None:
        if int(self._counts.max()) >= self._capacity < self._spec.memory_size:
            self._grow()
        rows, which = self._rows, self._all  # on the device and on the host
        if embedding.device.type == "cpu" and int(self._counts.max()) >= LONG:
            new = [i for i in range(self._num_envs) if self._is_to_be_stored(i, embedding[i])]
            rows = which = torch.tensor(new, dtype=torch.long)
            embedding = embedding[which]
        (slots,) = upload([(self._counts[which] % self._capacity).numpy()], embedding.device)
        self._memory[rows, slots] = embedding
        self._norms[rows, slots] = embedding.square().sum(-1)
        self._counts[which] += 1

    def _is_to_be_stored(self, i: int, embedding: Tensor) -> bool:
        """Say whether a long memory holds the embedding [D] fewer than K times, and count it in."""
        count = int(self._counts[i])
        if count < LONG:
            return True
        memory, entry = self._memory[i].numpy(), embedding.numpy().tobytes()
        copies = self._copies[i]
        if copies is None:
            copies = self._copies[i] = Counter(row.tobytes() for row in memory[:count])
        if copies[entry] >= self._spec.num_neighbours:
            return False
        copies[entry] += 1
        if count >= self._capacity:
            oldest = memory[count % self._capacity].tobytes()  # makes room
            copies[oldest] -= 1
            if not copies[oldest]:
                del copies[oldest]
        return True

    def _grow(self) -> None:
        capacity = min(2 * self._capacity, self._spec.memory_size)
        extra = capacity - self._capacity
        for old in (self._memory, self._norms):
            if old.is_cuda:  # it may be another stream's, which could use its memory again before it is copied here
                old.record_stream(torch.cuda.current_stream(old.device))
        self._memory = torch.cat(
            [self._memory, self._memory.new_zeros(self._num_envs, extra, self._memory.shape[2])], 1
        )
        self._norms = torch.cat([self._norms, self._norms.new_full((self._num_envs, extra), torch.inf)], 1)
        self._capacity = capacity

    def state_dict(self) -> dict[str, float]:
        """Return the running mean. Unfinished episodes are left out, since a resumed run starts new ones."""
        return {"distance_sum": float(self._distance_sum), "distance_weight": float(self._distance_weight)}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Restore `state_dict()`."""
        self._distance_sum, self._distance_weight = (
            torch.tensor(state[name], dtype=moment.dtype, device=moment.device)
            for name, moment in (("distance_sum", self._distance_sum), ("distance_weight", self._distance_weight))
        )


def _encoder(spec: NoveltySpec, outputs: int) -> nn.Sequential:
    torso = small_torso(spec, spec.channels, spec.hidden_size)
    return nn.Sequential(torso, nn.Linear(torso.num_features, outputs))
