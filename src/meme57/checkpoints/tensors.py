"""Files of tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from meme57.files import write_atomically


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> Path:
    """Write a safetensors file, with the mode of the files beside it.

    Raises:
        StorageError: as `write_atomically`.
    """
    contiguous = {name: value.detach().contiguous() for name, value in tensors.items()}
    return write_atomically(path, lambda temporary: save_file(contiguous, temporary))
