"""The frame normaliser."""

from __future__ import annotations

import pytest
import torch

from meme57.agent.frames import FIT_FRAMES, FrameNormaliser, shift


def test_fresh_it_only_scales() -> None:
    frames = torch.tensor([[[0, 51], [102, 255]]], dtype=torch.uint8)
    assert FrameNormaliser(2, 2)(frames)[0, 0].flatten().tolist() == pytest.approx([0.0, 0.2, 0.4, 1.0])


def test_fitted_by_hand() -> None:
    # Pixel 0 is 0 and 102 (mean 0.2), pixel 1 always 255 (mean 1): deviations -0.2, 0.2, 0, 0.
    # Mean square (0.04 + 0.04) / 4 = 0.02, scale 1 / sqrt(0.02) = 7.0711.
    frames = torch.tensor([[[0, 255]], [[102, 255]]], dtype=torch.uint8)
    normaliser = FrameNormaliser(1, 2)
    normaliser.fit(frames)
    out = normaliser(frames)[:, 0, 0]
    assert out[0].tolist() == pytest.approx([-1.41421, 0.0], abs=1e-4)
    assert out[1].tolist() == pytest.approx([1.41421, 0.0], abs=1e-4)
    assert out.square().mean().item() == pytest.approx(1.0, rel=1e-5)


def test_a_picture_that_never_changes_stays_finite() -> None:
    frames = torch.full((3, 2, 2), 7, dtype=torch.uint8)
    normaliser = FrameNormaliser(2, 2)
    normaliser.fit(frames)
    assert normaliser(frames).abs().max().item() < 1e-4
    assert normaliser.scale.item() == pytest.approx(100.0)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_fitted_in_portions_as_at_once(dtype: str) -> None:
    """All of a large replay's frames as numbers would be many gigabytes."""
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 255, (2 * FIT_FRAMES + 7, 3, 4), generator=generator).to(getattr(torch, dtype))
    normaliser = FrameNormaliser(3, 4, dtype)
    normaliser.fit(frames)
    numbers = frames.double() / (255.0 if dtype == "uint8" else 1.0)
    torch.testing.assert_close(normaliser.mean.double(), numbers.mean(0))
    squares = (numbers - numbers.mean(0)).square()
    expected = squares.mean() if dtype == "uint8" else squares.mean(0)
    torch.testing.assert_close(normaliser.scale.double(), 1.0 / expected.sqrt())


def test_it_travels_with_the_weights() -> None:
    first, second = FrameNormaliser(2, 2), FrameNormaliser(2, 2)
    first.fit(torch.randint(0, 255, (5, 2, 2), dtype=torch.uint8))
    second.load_state_dict(first.state_dict())
    frames = torch.randint(0, 255, (4, 2, 2), dtype=torch.uint8)
    assert torch.equal(first(frames), second(frames))
    assert first(frames).is_contiguous(memory_format=torch.channels_last)


def test_shift_by_hand() -> None:
    pictures = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).expand(4, 1, 2, 2)  # two sequences of two pictures
    moved = shift(pictures, [(1, 0), (0, -1)], most=1)
    assert moved[0, 0].tolist() == moved[1, 0].tolist() == [[3.0, 4.0], [3.0, 4.0]]  # up by one: the last row repeats
    assert moved[2, 0].tolist() == moved[3, 0].tolist() == [[1.0, 1.0], [3.0, 3.0]]  # right by one
    assert torch.equal(shift(pictures, [(0, 0), (0, 0)], most=2), pictures)


def test_shift_beside_a_loop() -> None:
    generator = torch.Generator().manual_seed(1)
    pictures = torch.randn(3 * 4, 1, 5, 7, generator=generator)
    offsets = [(-2, 1), (0, 2), (2, -2)]
    moved = shift(pictures, offsets, most=2)
    for i in range(12):
        up, left = offsets[i // 4]
        for y in range(5):
            for x in range(7):
                source = pictures[i, 0, min(max(y + up, 0), 4), min(max(x + left, 0), 6)]
                assert moved[i, 0, y, x] == source
