"""The batch that caused repeated non-finite updates, kept so that the cause can be found."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from meme57.checkpoints.tensors import save_tensors
from meme57.files import commit_folder, storage_errors, write_json
from meme57.replay.chunks import SequenceBatch

FOLDER = "non-finite-batch"


def keep_batch(
    folder: Path, batch: SequenceBatch, weights: dict[str, dict[str, Tensor]], facts: dict[str, Any]
) -> Path:
    """Write `folder/non-finite-batch`, replacing an earlier one, and return its path.

    `batch.safetensors` holds the arrays of `SequenceBatch` (inputs as `inputs.<name>`). `network.safetensors` and
    `novelty.safetensors` hold the weights, `record.json` the facts and the names of the arrays that are not finite.
    """
    path, temporary = folder / FOLDER, folder / f".{FOLDER}.tmp"
    arrays = batch_arrays(batch)
    with storage_errors(path):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        save_tensors({name: torch.from_numpy(array) for name, array in arrays.items()}, temporary / "batch.safetensors")
        for name in ("network", "novelty"):
            save_tensors(weights[name], temporary / f"{name}.safetensors")
        broken = sorted(name for name, array in arrays.items() if not np.isfinite(array).all())
        write_json(temporary / "record.json", {**facts, "not_finite": broken})
        commit_folder(temporary, path)
    return path


def batch_arrays(batch: SequenceBatch) -> dict[str, np.ndarray[Any, Any]]:
    """Return all arrays of a batch by name."""
    fields = dict(vars(batch))
    fields |= {f"inputs.{name}": array for name, array in fields.pop("inputs")._asdict().items()}
    return {name: np.ascontiguousarray(array) for name, array in fields.items()}
