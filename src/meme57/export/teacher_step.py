"""One step of the exploiting policy with all that it needs: its novelty inputs are computed inside."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from meme57.agent.inputs import left_behind
from meme57.agent.network import Features, MemeNetwork, no_features
from meme57.agent.novelty import NoveltyNetworks, NoveltyReward, episodic_reward


class TeacherStep(nn.Module):
    """The network under policy 0, without novelty inputs: they are 0.  Source: ours."""

    def __init__(self, network: MemeNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, frame: Tensor, action: Tensor, reward: Tensor, state: Tensor) -> tuple[Tensor, ...]:
        """Take one step.

        Args:
            frame: [B, H, W] uint8.
            action: [B] long, the previous one; A where there was none.
            reward: [B] float, the previous one.
            state: [2, B, H].

        Returns:
            preferences [B, A], state [2, B, H].
        """
        nothing = no_features(self.network.spec, action.shape[0])
        return self.act(frame, nothing._replace(action=action, reward=reward), state)

    def act(self, frame: Tensor, features: Features, state: Tensor) -> tuple[Tensor, Tensor]:
        """Act as `MemeNetwork.act` does for policy 0, with the LSTM that can be exported."""
        network = self.network
        rows = Features(*(value.unsqueeze(0) for value in features))
        inputs = network.core_inputs(network.frames(frame), rows)
        core, (hidden, cell) = network.lstm(inputs, (state[0:1], state[1:2]))
        return network.preferences(core[0], torch.zeros_like(features.action)), torch.cat([hidden, cell])


class CuriousTeacherStep(TeacherStep):
    """The same with the novelty inputs that `actors.Player` gives, one environment a row.

    What `EpisodicMemory` holds comes in and goes out: the embeddings of the episode so far, of which a row's last
    `steps` are its own, and the sum and the weight of its running mean distance.
    """

    def __init__(self, network: MemeNetwork, novelty: NoveltyNetworks) -> None:
        super().__init__(network)
        self.novelty = novelty

    def forward(  # type: ignore[override]
        self,
        frame: Tensor,
        action: Tensor,
        reward: Tensor,
        state: Tensor,
        memory: Tensor,
        distance: Tensor,
        steps: Tensor,
    ) -> tuple[Tensor, ...]:
        """Take one step.

        Args:
            frame: [B, H, W] uint8.
            action: [B] long, the previous one; A where there was none.
            reward: [B] float, the previous one.
            state: [2, B, H].
            memory: [B, M, D] float, M at least 1.
            distance: [B, 2] float; it survives episodes.
            steps: [B] long, of the episode so far.

        Returns:
            preferences [B, A], and what comes next: state, memory [B, M + 1, D], distance, steps.
        """
        reward_parts, distance = self._novelty(frame, memory, distance, steps)
        goes_on = (steps > 0).float()
        seen = [part * goes_on.view(-1, *[1] * (part.dim() - 1)) for part in reward_parts]
        preferences, state = self.act(frame, left_behind(action, reward, seen), state)
        memory = torch.cat([memory, reward_parts.embedding.unsqueeze(1)], dim=1)
        return preferences, state, memory, distance, steps + 1

    def _novelty(self, frame: Tensor, memory: Tensor, distance: Tensor, steps: Tensor) -> tuple[NoveltyReward, Tensor]:
        spec = self.novelty.spec
        embedding = self.novelty.act_embed(frame)
        lifelong = self.novelty.lifelong(self.novelty.rnd_error(frame))
        nearest = self._nearest(embedding, memory, steps)
        distance = self._tracked(distance, nearest)
        episodic = episodic_reward(
            nearest, distance[:, :1] / distance[:, 1:].clamp_min(1e-8),
            kernel_eps=spec.kernel_eps, cluster_distance=spec.cluster_distance,
            pseudo_count=spec.pseudo_count, max_similarity=spec.max_similarity,
        )  # fmt: skip
        return NoveltyReward(episodic * lifelong, lifelong, episodic, embedding), distance

    def _nearest(self, embedding: Tensor, memory: Tensor, steps: Tensor) -> Tensor:
        """Return the squared distances [B, K] to the nearest neighbours; infinite where there are fewer."""
        spec = self.novelty.spec
        nothing = memory.new_zeros(memory.shape[0], spec.num_neighbours, memory.shape[2])
        memory = torch.cat([nothing, memory], dim=1)  # so that there are K of them to choose from
        age = memory.shape[1] - torch.arange(memory.shape[1])
        absent = age > steps.clamp_max(spec.memory_size).unsqueeze(1)
        products = torch.bmm(memory, embedding.unsqueeze(-1)).squeeze(-1)
        near = (memory.square().sum(-1) - 2.0 * products).masked_fill(absent, torch.inf)
        values, indices = near.topk(spec.num_neighbours, dim=-1, largest=False)
        neighbours = memory.gather(1, indices.unsqueeze(-1).expand(-1, -1, memory.shape[2]))
        exact = (neighbours - embedding.unsqueeze(1)).square().sum(-1)
        return exact.masked_fill(torch.isinf(values), torch.inf)

    def _tracked(self, distance: Tensor, nearest: Tensor) -> Tensor:
        """Add these distances to the sum and the weight [B, 2] of the running mean; without any, change nothing."""
        present = torch.isfinite(nearest)
        count = present.sum(-1, keepdim=True)
        mean = nearest.masked_fill(~present, 0.0).sum(-1, keepdim=True) / count.clamp_min(1)
        decay = self.novelty.spec.distance_decay
        following = decay * distance + (1.0 - decay) * torch.cat([mean, torch.ones_like(mean)], dim=-1)
        return torch.where(count > 0, following, distance)
