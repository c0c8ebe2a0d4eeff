"""The golden numbers: three seeded updates of a tiny agent in double precision.

    python tests/learning/golden.py            prints them
    python tests/learning/golden.py --write    renews golden.json; a change of numerics must be meant

Float32 gives these numbers on every machine, rounding apart (`test_learner.py`). The initial weights are drawn in
float32 here, too.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from meme57.learning.learner import Learner
from meme57.replay.chunks import SequenceBatch

FILE = Path(__file__).with_suffix(".json")
UPDATES = 3


def golden_run(learner: Learner, batches: list[SequenceBatch]) -> dict[str, list[float]]:
    """Losses and priorities of the updates, then running scales and the norms of all weights."""
    results = [learner.update(batch) for batch in batches]
    networks = (learner.network, learner.novelty)
    return {
        "losses": [metrics["loss/total"].item() for _, metrics in results],
        "priorities": [float(priority) for priorities, _ in results for priority in priorities],
        "scales": [std for scale in learner.scales.values() for std in scale.std.tolist()],
        "norms": [torch.cat([p.detach().flatten() for p in n.parameters()]).norm().item() for n in networks],
    }


def double_run(learner: Learner, batches: list[SequenceBatch]) -> dict[str, list[float]]:
    """The same with weights, batches and all between them in double precision."""
    for network in (learner.network, learner.target, learner.novelty):
        network.double()
    with mock.patch.object(torch.Tensor, "float", torch.Tensor.double):  # by which the agent leaves half precision
        return golden_run(learner, [in_double(batch) for batch in batches])


def in_double(batch: Any) -> Any:
    """Float32 arrays of a batch, and of the inputs in it, as float64."""

    def wide(value: Any) -> Any:
        return value.astype(np.float64) if value.dtype == np.float32 else value

    arrays = {name: wide(value) for name, value in vars(batch).items() if name != "inputs"}
    return dataclasses.replace(batch, inputs=type(batch.inputs)(*map(wide, batch.inputs)), **arrays)


def main() -> None:
    from test_learner import CASE, build

    from conftest import build_batch, build_parameters

    torch.set_num_threads(1)
    batches = [build_batch(**{**CASE, "seed": seed}) for seed in range(UPDATES)]
    numbers = double_run(build(build_parameters()), batches)
    text = json.dumps(numbers, indent=1) + "\n"
    print(text, end="")
    if "--write" in sys.argv[1:]:
        FILE.write_text(text)


if __name__ == "__main__":
    main()
