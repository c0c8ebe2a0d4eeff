"""One torch thread, and a small network whose every output depends on its inputs (value heads start at zero)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from meme57.agent.network import Features, MemeNetwork
from meme57.agent.parameters import NetworkSpec
from tiny_agent import _one_torch_thread  # noqa: F401 - for every test below this folder


def build_network(torso: str = "small", *, seed: int = 0, **overrides: object) -> MemeNetwork:
    settings = {
        "height": 36, "width": 36, "num_actions": 5, "num_policies": 3, "torso": torso, "lstm_size": 12,
        "head_size": 10, "feature_size": 8, "action_embedding_size": 6, "embedding_size": 7,
        "small_channels": (4, 8), "nfnet_widths": (8, 16), "nfnet_blocks": 2, "nfnet_group_width": 4,
        "normalise_heads": False, "balance_inputs": False,
    }  # fmt: skip
    torch.manual_seed(seed)
    network = MemeNetwork(NetworkSpec(**{**settings, **overrides}))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.startswith(("values.", "policies.")):
                parameter.normal_(std=0.5)
    return network


def build_inputs(
    network: MemeNetwork, num_steps: int, batch: int, *, seed: int = 1
) -> tuple[torch.Tensor, Features, torch.Tensor]:
    """Random frames [B, T, H, W], features [T, B] and a random state [2, B, H]."""
    spec, generator = network.spec, torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    frames = torch.randint(0, 256, (batch, num_steps, spec.height, spec.width), generator=generator, dtype=torch.uint8)
    action = torch.randint(0, spec.num_actions + 1, (num_steps, batch), generator=generator)
    rewards = [normal(num_steps, batch) * 3 for _ in range(4)]
    embedding = normal(num_steps, batch, spec.embedding_size).half()
    return frames, Features(action, *rewards, embedding), normal(2, batch, spec.lstm_size)


@pytest.fixture(scope="session")
def make_network() -> Callable[..., MemeNetwork]:
    return build_network


@pytest.fixture(scope="session")
def make_inputs() -> Callable[..., tuple[torch.Tensor, Features, torch.Tensor]]:
    return build_inputs
