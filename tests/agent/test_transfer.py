"""One copy a step: what is packed comes out again. The copies themselves are counted in `test_fake_cuda.py`."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from meme57.agent.transfer import _bytes, _split, download, upload


def test_packed_tensors_come_out_as_they_were() -> None:
    generator = torch.Generator().manual_seed(0)
    tensors = [
        torch.arange(3),
        torch.randn(4, 5, generator=generator).t(),
        torch.randn(2, 3, generator=generator)[:, 1:].half(),
        torch.randint(256, (3, 7, 5), generator=generator, dtype=torch.uint8),
        torch.tensor([True, False, True]),
    ]
    for found, expected in zip(_split(torch.cat(_bytes(tensors)), tensors), tensors, strict=True):
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)


def test_a_narrow_type_before_a_wide_one_is_refused() -> None:
    tensors = [torch.tensor([True]), torch.arange(3)]
    with pytest.raises(RuntimeError, match="divisible"):
        _split(torch.cat(_bytes(tensors)), tensors)


def test_nothing_is_copied_on_a_cpu() -> None:
    array = np.zeros(3, np.float32)
    (tensor,) = upload([array], torch.device("cpu"))
    (back,) = download([tensor])
    array[1] = 5.0
    assert tensor.tolist() == back.tolist() == [0.0, 5.0, 0.0]
