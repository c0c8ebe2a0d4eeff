"""The student: a small single-step policy that needs nothing but the frame, the last action and the last reward."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from meme57.agent.bounds import NonNegative, Positive
from meme57.agent.frames import FrameNormaliser
from meme57.agent.recurrence import unroll
from meme57.agent.torso import small_torso
from meme57.agent.transforms import signed_hyperbolic


@dataclass(frozen=True)
class StudentSpec:
    """Shapes of the student; stored with its weights."""

    height: int
    width: int
    num_actions: int
    lstm_size: int
    channels: tuple[int, int]
    frame_dtype: str = "uint8"
    temperature: NonNegative = 0.0
    """It plays as a teacher that draws its actions at this temperature; 0: the best ones."""
    distilled_at: Positive = 0.25
    """softmax(logits) imitates a teacher that draws at this temperature."""


class StudentNetwork(nn.Module):
    """Torso (its output standardised per frame, like the teacher's), LSTM, logits.  Source: ours."""

    def __init__(self, spec: StudentSpec) -> None:
        super().__init__()
        self.spec = spec
        self.frames = FrameNormaliser(spec.height, spec.width, spec.frame_dtype)
        self.torso = small_torso(spec, spec.channels, spec.lstm_size)
        self.action = nn.Embedding(spec.num_actions + 1, 8)
        self.lstm = nn.LSTM(self.torso.num_features + 9, spec.lstm_size)
        self.logits = nn.Linear(spec.lstm_size, spec.num_actions)

    def forward(self, frames: Tensor, actions: Tensor, rewards: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Run one step.

        Args:
            frames: [B, H, W] uint8.
            actions: [B] long, the previous ones; A where there was none.
            rewards: [B] float, the previous ones.
            state: [2, B, H].

        Returns:
            logits [B, A], state [2, B, H].
        """
        inputs = self._inputs(frames, actions, rewards).unsqueeze(0)
        out, (hidden, cell) = self.lstm(inputs, (state[0:1], state[1:2]))
        return self.logits(out[0]), torch.cat([hidden, cell])

    def unroll(self, frames: Tensor, actions: Tensor, rewards: Tensor, first: Tensor, state: Tensor) -> Tensor:
        """Return logits [T, B, A] of a sequence; the state is zeroed where `first` [T, B] bool is True.

        Shapes: frames [T, B, H, W], actions and rewards [T, B], state [2, B, H].
        """
        inputs = self._inputs(*(value.flatten(0, 1) for value in (frames, actions, rewards))).view(*actions.shape, -1)
        begins = [t for t, some_begin in enumerate(first.any(dim=1).tolist()) if some_begin and t > 0]
        outputs = []
        for begin, end in itertools.pairwise([0, *begins, len(actions)]):
            state = state * ~first[begin].unsqueeze(-1)
            out, state = unroll(self.lstm, inputs[begin:end], state)
            outputs.append(out)
        logits: Tensor = self.logits(torch.cat(outputs))
        return logits

    def _inputs(self, frames: Tensor, actions: Tensor, rewards: Tensor) -> Tensor:
        """Return the LSTM's inputs [N, D] of N steps."""
        visual = functional.layer_norm(self.torso(self.frames(frames)), (self.torso.num_features,))
        return torch.cat([visual, self.action(actions), signed_hyperbolic(rewards).unsqueeze(-1)], dim=-1)

    def initial_state(self, batch: int) -> Tensor:
        """Return zeros [2, B, H] on the network's device."""
        return self.logits.weight.new_zeros(2, batch, self.spec.lstm_size)
