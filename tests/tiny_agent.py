"""The smallest agent that is played and trained with in tests, and how a tree of parameters gets other values."""

from __future__ import annotations

from typing import Any

import pytest
import torch

Tree = dict[str, dict[str, Any]]

TINY: Tree = {
    "env": {"game": "Corridor", "num_envs": 4, "height": 16, "width": 16},
    "family": {"num_policies": 2},
    "network": {"torso": "small", "lstm_size": 8, "head_size": 8, "feature_size": 8, "small_channels": [3, 4]},
    "novelty": {"embedding_size": 4, "channels": [3, 4], "hidden_size": 8, "rnd_size": 4, "memory_size": 100},
    "replay": {"period": 8, "capacity_sequences": 200, "min_sequences": 8},
    "learner": {"batch_size": 4},
}


def changed(tree: Tree, **groups: dict[str, Any]) -> Tree:
    """A copy of the tree with some values of its groups changed or added."""
    return {name: {**tree.get(name, {}), **groups.get(name, {})} for name in {**tree, **groups}}


@pytest.fixture(scope="session", autouse=True)
def _one_torch_thread() -> None:
    """For the tests of the folders whose conftest.py imports it."""
    torch.set_num_threads(1)
