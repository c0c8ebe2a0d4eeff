"""A replay batch as tensors on the learner's device."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from meme57.agent.network import Features
from meme57.agent.novelty import NoveltyNetworks
from meme57.replay.chunks import SequenceBatch, StepInputs


class TensorBatch(NamedTuple):
    """`SequenceBatch` on a device; see there for padding."""

    frames: Tensor  # [B, T+1, H, W] uint8, or float32 for vectors
    features: Features  # [T+1, B]
    actions: Tensor  # [T, B] long
    rewards: Tensor  # [T, B]
    intrinsic_rewards: Tensor  # [T, B]
    mu: Tensor  # [T, B]
    mask: Tensor  # [T, B] bool
    lengths: Tensor  # [B] long
    continues: Tensor  # [T, B] d_t: 0 at a terminal step, else 1
    is_last_step: Tensor  # [T, B] bool, the last real step, where the trace is cut
    policies: Tensor  # [B] long
    state: Tensor  # [2, B, H]
    importance: Tensor  # [B]


def with_newest_embeddings(batch: TensorBatch, novelty: NoveltyNetworks, *, num_actions: int) -> TensorBatch:
    """Replace the embeddings among the inputs by those of the newest weights, if `novelty.renew_embedding` says so.

    A stored embedding tells by which weights it was made, so how old the data is. The first input of an episode, whose
    action is `num_actions`, keeps its zeros. Source: ours.
    """
    if not (novelty.spec.enabled and novelty.spec.renew_embedding):
        return batch
    with torch.no_grad():
        embedding = novelty.act_embed(batch.frames.flatten(0, 1)).view(*batch.frames.shape[:2], -1).transpose(0, 1)
    is_first = (batch.features.action == num_actions).unsqueeze(-1)
    return batch._replace(features=batch.features._replace(embedding=embedding.masked_fill(is_first, 0.0)))


def to_tensors(batch: SequenceBatch, device: torch.device) -> TensorBatch:
    """Copy (on a CPU: wrap) the arrays of `batch`."""

    def put(array: object) -> Tensor:
        return torch.from_numpy(array).to(device, non_blocking=True)

    lengths = put(batch.lengths)
    steps = torch.arange(len(batch.actions), device=device).unsqueeze(1)
    is_last_step = steps == lengths - 1
    return TensorBatch(
        frames=put(batch.frames),
        features=Features(*(put(value) for value in batch.inputs)),
        actions=put(batch.actions),
        rewards=put(batch.rewards),
        intrinsic_rewards=put(batch.intrinsic_rewards),
        mu=put(batch.mu),
        mask=put(batch.mask),
        lengths=lengths,
        continues=1.0 - (is_last_step & put(batch.terminal)).float(),
        is_last_step=is_last_step,
        policies=put(batch.policies),
        state=put(batch.lstm_state),
        importance=put(batch.importance),
    )


def pin(batch: SequenceBatch) -> SequenceBatch:
    """Copy the batch to page-locked memory, from which a GPU reads while the processor continues."""

    def locked(arrays: dict[str, Any]) -> dict[str, Any]:
        return {name: torch.from_numpy(array).pin_memory().numpy() for name, array in arrays.items()}

    arrays = dict(vars(batch))
    inputs = StepInputs(**locked(arrays.pop("inputs")._asdict()))
    return SequenceBatch(inputs=inputs, **locked(arrays))
