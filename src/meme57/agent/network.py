"""The network: torso, non-image features, one LSTM, and heads for N policies, the only parts that differ by policy."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from meme57.agent.dynamics import LatentDynamics
from meme57.agent.frames import FrameNormaliser
from meme57.agent.heads import BatchedHeads, DuelingHeads
from meme57.agent.inputs import ACTION, EMBEDDING, INPUTS, REWARD, Inputs, Kind
from meme57.agent.parameters import NetworkSpec
from meme57.agent.recurrence import unroll
from meme57.agent.torso import make_torso
from meme57.agent.transforms import signed_hyperbolic, signed_parabolic

Features = Inputs[Tensor]
"""The inputs as tensors with any leading dimensions."""


def no_features(spec: NetworkSpec, *leading: int) -> Features:
    """Return zeros, [*leading] each. An episode starts with these, except for the action."""
    shapes = {name: kind.shape(leading, spec.embedding_size) for name, kind in INPUTS.items()}
    action = torch.zeros(shapes.pop("action"), dtype=torch.long)
    return Features(action, **{name: torch.zeros(shape) for name, shape in shapes.items()})


class NetworkOutput(NamedTuple):
    """The output of the heads at each step, and the recurrent state after the last step."""

    q_extrinsic: Tensor  # [T, B, N, A] in the transformed space
    q_intrinsic: Tensor  # [T, B, N, A]
    logits: Tensor  # [T, B, N, A]
    state: Tensor  # [2, B, H]
    core: Tensor  # [T, B, H] outputs of the LSTM


class FeatureEncoder(nn.Module):
    """Previous action (embedded), rewards and action-prediction embedding through one linear layer.

    Source: MEME appendix B.2 [paper]. Rewards enter as h(r). The embedding is standardised to zero mean and unit
    variance: the inverse model lets it grow without bound, and it would drown the image [ours].
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.action = nn.Embedding(spec.num_actions + 1, spec.action_embedding_size)
        sizes = {ACTION: spec.action_embedding_size, REWARD: 1, EMBEDDING: spec.embedding_size}
        self.linear = nn.Linear(sum(sizes[kind] for kind in INPUTS.values()), spec.feature_size)

    def forward(self, features: Features) -> Tensor:
        """Encode features [...] -> [..., feature_size]."""
        kinds = itertools.groupby(zip(INPUTS.values(), features, strict=True), key=lambda pair: pair[0])
        encoded = [part for kind, pairs in kinds for part in self._encode(kind, [values for _, values in pairs])]
        return functional.relu(self.linear(torch.cat(encoded, dim=-1)))

    def _encode(self, kind: Kind, inputs: list[Tensor]) -> list[Tensor]:
        """Encode neighbouring inputs of one kind; rewards together, since each alone takes as many operations."""
        if kind == ACTION:
            return [self.action(values) for values in inputs]
        if kind == REWARD:
            return [signed_hyperbolic(torch.stack(inputs, dim=-1))]
        return [functional.layer_norm(values.float(), values.shape[-1:]) for values in inputs]


class MemeNetwork(nn.Module):
    """Source: MEME Fig. 2 [paper]; the policy heads read the LSTM behind a stop-gradient [reported]."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        self.frames = FrameNormaliser(spec.height, spec.width, spec.frame_dtype)
        self.torso = make_torso(spec)
        self.torso.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.features = FeatureEncoder(spec)
        self.lstm = nn.LSTM(self.torso.num_features + spec.feature_size, spec.lstm_size)
        sizes, num_heads = (spec.lstm_size, spec.head_size, spec.num_actions), spec.num_policies
        self.values = DuelingHeads(*sizes, num_heads=num_heads, normalise=spec.normalise_heads)
        self.policies = BatchedHeads(*sizes, num_heads=num_heads, normalise=spec.normalise_heads)
        self.dynamics: LatentDynamics | None = None
        if spec.dynamics_size:
            self.dynamics = LatentDynamics(spec.lstm_size, spec.num_actions, size=spec.dynamics_size)
        betas = None if spec.acting_betas is None else torch.tensor(spec.acting_betas)
        self.register_buffer("acting_betas", betas, persistent=False)
        self.acting_betas: Tensor | None

    def forward(self, frames: Tensor, features: Features, state: Tensor) -> NetworkOutput:
        """Unroll a sequence that lies within one episode.

        Args:
            frames: [B, T, H, W] uint8 (or float32: `frame_dtype`), batch-major as replay decodes them.
            features: [T, B] inputs at each observation.
            state: [2, B, H] LSTM hidden and cell before the first step.
        """
        return self.unroll(self.frames(frames.flatten(0, 1)), features, state)

    def unroll(self, images: Tensor, features: Features, state: Tensor) -> NetworkOutput:
        """Run `forward` on frames that are already normalised, [B * T, 1, H, W]; two networks can share them."""
        core, state = self.core(images, features, state)
        shape = core.shape[:2]
        flat = core.flatten(0, 1)
        q_extrinsic, q_intrinsic = self.values(flat)
        logits = self.policies(flat.detach())
        return NetworkOutput(
            q_extrinsic.unflatten(0, shape), q_intrinsic.unflatten(0, shape), logits.unflatten(0, shape), state, core
        )

    def core(self, images: Tensor, features: Features, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the LSTM's outputs [T, B, H] and its last state [2, B, H]."""
        return unroll(self.lstm, self.core_inputs(images, features), state)

    def core_inputs(self, images: Tensor, features: Features) -> Tensor:
        """Return the inputs of the LSTM, [T, B, D].

        The torso's output is standardised per frame. Then it is scaled so that its squared norm is the number of other
        features: 800 numbers of unit variance would saturate the gates [ours].
        """
        num_steps, batch = features.action.shape
        visual = functional.layer_norm(self.torso(images).float(), (self.torso.num_features,))
        if self.spec.balance_inputs:
            visual = visual * math.sqrt(self.spec.feature_size / self.torso.num_features)
        visual = visual.view(batch, num_steps, -1).transpose(0, 1)
        return torch.cat([visual, self.features(features).to(visual.dtype)], dim=-1)

    def act(self, frames: Tensor, features: Features, state: Tensor, policies: Tensor) -> tuple[Tensor, Tensor]:
        """Run one step of B environments, each under its own policy.

        Args:
            frames: [B, H, W] uint8.
            features: [B].
            state: [2, B, H].
            policies: [B] long, j of each environment.

        Returns:
            preferences [B, A] (logits of the distilled policy, or values: see `acting_betas`), state [2, B, H].
        """
        core, state = self.step(frames, features, state)
        return self.preferences(core, policies), state

    def predicted_returns(self, core: Tensor, preferences: Tensor, policies: Tensor) -> Tensor:
        """Predict the discounted extrinsic return [B] of the action that each policy prefers.

        Args:
            core: [B, H] the LSTM's output.
            preferences: [B, A] of `preferences(core, policies)`.
            policies: [B] long.
        """
        best = preferences.argmax(-1, keepdim=True)
        q = self.values(core)[0][torch.arange(len(policies), device=policies.device), policies]
        return signed_parabolic(q.float().gather(-1, best).squeeze(-1))

    def step(self, frames: Tensor, features: Features, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the LSTM's output [B, H] and state [2, B, H] after one step; arguments as `act`."""
        core, state = self.core(self.frames(frames), Features(*(value.unsqueeze(0) for value in features)), state)
        return core[0], state

    def preferences(self, core: Tensor, policies: Tensor) -> Tensor:
        """Return the preferences of each row's policy: LSTM output [B, H], policies [B] -> [B, A]."""
        rows = torch.arange(policies.shape[0], device=policies.device)  # `len` would fix the batch of an export
        if self.acting_betas is None:
            logits: Tensor = self.policies(core)[rows, policies]
            return logits
        q_extrinsic, q_intrinsic = self.values(core)
        weights = self.acting_betas[policies].unsqueeze(-1)
        q: Tensor = q_extrinsic[rows, policies] + weights * q_intrinsic[rows, policies]
        return q

    def initial_state(self, batch: int) -> Tensor:
        """Return zeros [2, B, H]."""
        return torch.zeros(2, batch, self.spec.lstm_size)
