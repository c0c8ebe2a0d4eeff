"""Torsos: scaled weight standardisation, kept variance, residual branches that start at zero."""

from __future__ import annotations

import copy
import math
import statistics
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional

from meme57.agent.nfnet import ScaledConv2d, scaled_relu
from meme57.agent.parameters import NetworkSpec
from meme57.agent.torso import TORSOS, ImpalaTorso, NFNetTorso, Torso, make_torso


def effective_weight(conv: ScaledConv2d) -> torch.Tensor:
    """What the convolution multiplies with [out, in / groups, k, k], from its answers to single pixels."""
    out, per_group, k, _ = conv.weight.shape
    inputs = conv.in_channels
    weight = torch.zeros(out, inputs, k, k)
    bias = conv(torch.zeros(1, inputs, k, k))[0, :, k // 2, k // 2]
    for channel in range(inputs):
        for row in range(k):
            for column in range(k):
                image = torch.zeros(1, inputs, k, k)
                image[0, channel, row, column] = 1.0
                weight[:, channel, row, column] = conv(image)[0, :, k // 2, k // 2] - bias
    group_size = out // conv.groups
    return torch.stack([weight[o, (o // group_size) * per_group :][:per_group] for o in range(out)])


@pytest.mark.parametrize(("kernel", "groups"), [(1, 1), (3, 1), (3, 2)])
@torch.no_grad()
def test_weights_are_standardised_a_channel_and_scaled_by_the_gain(kernel: int, groups: int) -> None:
    torch.manual_seed(0)
    conv = ScaledConv2d(6, 4, kernel, groups=groups)
    conv.weight.mul_(7.0).add_(3.0)
    conv.gain.copy_(torch.tensor([1.0, 2.0, 0.5, -1.0]).view(4, 1, 1, 1))
    weight = effective_weight(conv)
    fan_in = 6 // groups * kernel**2
    for channel, gain in enumerate((1.0, 2.0, 0.5, -1.0)):
        raw = conv.weight[channel].flatten().tolist()
        mean = sum(raw) / fan_in
        variance = sum((w - mean) ** 2 for w in raw) / fan_in
        expected = [gain * (w - mean) / math.sqrt(variance * fan_in) for w in raw]
        assert weight[channel].flatten().tolist() == pytest.approx(expected, abs=2e-5)
        assert weight[channel].mean().item() == pytest.approx(0.0, abs=1e-5)
        assert weight[channel].var(correction=0).item() == pytest.approx(gain**2 / fan_in, rel=1e-3)


@torch.no_grad()
def test_scaled_relu_and_convolution_keep_unit_variance() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 64, 24, 24)
    activated = scaled_relu(x)
    assert activated.var().item() == pytest.approx(1.0, rel=0.03)
    inside = ScaledConv2d(64, 128, 3)(activated)[..., 1:-1, 1:-1]  # zero padding lowers it at the rim
    assert inside.var().item() == pytest.approx(1.0, rel=0.15)


@pytest.mark.parametrize(("kernel", "groups"), [(1, 1), (3, 1), (3, 4)])
def test_a_step_of_adam_turns_standardised_weights_as_far_as_plain_ones(kernel: int, groups: int) -> None:
    """Each number moves by the rate, so the weights' size decides; plain ones start at 1 / sqrt(fan_in)."""
    torch.manual_seed(0)
    rate, conv, images = 1e-3, ScaledConv2d(64, 32, kernel, groups=groups), torch.randn(4, 64, 8, 8)
    fan_in = 64 // groups * kernel**2
    before = effective_weight(conv).detach()
    optimiser = torch.optim.Adam([conv.weight], lr=rate)
    conv(images).square().sum().backward()
    optimiser.step()
    turned = (effective_weight(conv).detach() - before).norm() / before.norm()
    assert turned == pytest.approx(rate * math.sqrt(fan_in), rel=0.1)


@torch.no_grad()
def test_residual_branches_start_at_zero_and_identity_blocks_pass_their_input_on() -> None:
    torch.manual_seed(0)
    torso = NFNetTorso(40, 32, widths=(8, 16), blocks=3, group_width=4)
    x = torch.randn(2, 8, 10, 8)
    gains = [block.skip_gain for block in torso.blocks]
    assert [gain.item() for gain in gains] == [0.0] * 6
    assert torso.blocks[0].shortcut is not None  # stride 2
    assert torso.blocks[1].shortcut is None
    assert torch.equal(torso.blocks[1](x), x)
    gains[1].fill_(1.0)
    assert not torch.equal(torso.blocks[1](x), x)


@torch.no_grad()
def test_residual_branch_by_hand() -> None:
    torch.manual_seed(0)
    block = NFNetTorso(40, 32, widths=(8, 16), blocks=2, group_width=4).blocks[1]
    block.skip_gain.fill_(0.7)
    x = torch.randn(2, 8, 6, 5)
    # the second block of a stage sees variance 1 + 0.2^2 after the first
    out = scaled_relu(x) / math.sqrt(1.04)
    out = block.spatial(scaled_relu(block.reduce(out)))
    out = block.expand(scaled_relu(block.spatial_2(scaled_relu(out))))
    torch.testing.assert_close(block(x), x + 0.2 * 0.7 * out, rtol=1e-4, atol=1e-5)


def plain_convolution(conv: ScaledConv2d, x: torch.Tensor) -> torch.Tensor:
    """The convolution as the paper writes it."""
    mean = conv.weight.mean((1, 2, 3), keepdim=True)
    spread = (conv.weight - mean).square().sum((1, 2, 3), keepdim=True)  # var * fan_in
    weight = conv.gain * (conv.weight - mean) / (spread + 1e-4).sqrt()
    return functional.conv2d(x, weight, conv.bias, conv.stride, conv.padding, groups=conv.groups)


def plain_torso(torso: NFNetTorso, frames: torch.Tensor) -> torch.Tensor:
    """The network with every factor where the paper has it."""
    x = plain_convolution(torso.stem, frames)
    for block in torso.blocks:
        out = scaled_relu(x) * block._beta
        if block.shortcut is not None:
            x = functional.avg_pool2d(out, 2, ceil_mode=True) if block._stride > 1 else out
            x = plain_convolution(block.shortcut, x)
        for conv in (block.reduce, block.spatial, block.spatial_2):
            out = scaled_relu(plain_convolution(conv, out))
        x = x + block._alpha * block.skip_gain * plain_convolution(block.expand, out)
    return scaled_relu(x).flatten(1)


def random_torso(*, seed: int = 0) -> NFNetTorso:
    torch.manual_seed(seed)
    torso = NFNetTorso(36, 40, widths=(8, 16), blocks=2, group_width=4)
    with torch.no_grad():
        for name, parameter in torso.named_parameters():
            if name.endswith(("gain", "bias")):
                parameter.add_(torch.randn_like(parameter) * 0.5)
    return torso


def results(torso: NFNetTorso, forward: Callable[..., torch.Tensor], frames: torch.Tensor) -> list[torch.Tensor]:
    """Features, and the gradients of frames and of all parameters."""
    frames = frames.clone().requires_grad_()
    out = forward(torso, frames)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    return [out.detach(), *torch.autograd.grad((out * weights).sum(), [frames, *torso.parameters()])]


def test_folded_factors_give_the_numbers_and_gradients_of_the_paper_s_network() -> None:
    torso, frames = random_torso().double(), torch.randn(3, 1, 36, 40, dtype=torch.float64)
    for found, expected in zip(
        results(torso, NFNetTorso.__call__, frames), results(torso, plain_torso, frames), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_folding_costs_no_accuracy_in_bfloat16() -> None:
    folded, plain = [], []
    for seed in range(4):
        torso, frames = random_torso(seed=seed), torch.randn(16, 1, 36, 40)
        exact = results(torso, plain_torso, frames)
        for forward, errors in ((NFNetTorso.__call__, folded), (plain_torso, plain)):
            with torch.autocast("cpu", torch.bfloat16):
                rounded = results(torso, forward, frames)
            errors += [((a - b).norm() / b.norm()).item() for a, b in zip(rounded, exact, strict=True)]
    assert statistics.median(folded) < 1.2 * statistics.median(plain)


def is_right(torso: NFNetTorso) -> bool:
    frames = torch.randn(2, 1, 36, 40, generator=torch.Generator().manual_seed(2)).to(torso.stem.weight.dtype)
    return torch.allclose(torso(frames), plain_torso(torso, frames), rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_weights_are_kept_while_acting_and_not_in_training() -> None:
    with torch.inference_mode(False):
        torso = random_torso().eval()
    assert is_right(torso)
    kept = torso.stem._kept
    assert kept is not None
    assert is_right(torso)
    assert torso.stem._kept is kept
    assert not [name for name in torso.state_dict() if "kept" in name]
    assert copy.deepcopy(torso).stem._kept is None
    torso.train()
    assert is_right(torso)
    assert torso.stem._kept is None


def _load(torso: NFNetTorso) -> None:
    torso.load_state_dict(random_torso(seed=1).state_dict())


def _load_while_acting(torso: NFNetTorso) -> None:
    state = random_torso(seed=1).state_dict()
    with torch.inference_mode():
        torso.load_state_dict(state)


def _load_other_tensors(torso: NFNetTorso) -> None:
    torso.load_state_dict(random_torso(seed=1).state_dict(), assign=True)


def _optimise(torso: NFNetTorso) -> None:
    optimiser = torch.optim.AdamW(torso.parameters(), lr=0.3, fused=True)  # it leaves `_version` as it is
    torso(torch.randn(2, 1, 36, 40)).sum().backward()
    optimiser.step()


def _optimise_in_training(torso: NFNetTorso) -> None:
    _optimise(torso.train())
    torso.eval()


def _change_one_gain(torso: NFNetTorso) -> None:
    with torch.no_grad():
        torso.blocks[1].skip_gain.add_(1.0)


@pytest.mark.parametrize(
    "change", [_load, _load_while_acting, _load_other_tensors, _optimise, _optimise_in_training, _change_one_gain]
)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_kept_weights_follow_their_parameters(mode: Any, change: Callable[[NFNetTorso], None]) -> None:
    torso = random_torso().eval()
    with mode():
        before = torso(torch.ones(1, 1, 36, 40))
    change(torso)
    with mode():
        assert not torch.allclose(torso(torch.ones(1, 1, 36, 40)), before, rtol=1e-3)
        assert is_right(torso)


@torch.no_grad()
def test_kept_weights_have_the_type_of_autocast() -> None:
    torso, frames = random_torso().eval(), torch.randn(2, 1, 36, 40)
    exact = torso(frames)
    for dtype in (torch.bfloat16, torch.float32, torch.bfloat16):
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            out = torso(frames)
            assert torso.stem._kept.weight.dtype == torso.stem._kept.bias.dtype == out.dtype == dtype
            assert torch.equal(out, torso.train()(frames))
            torso.eval()
        assert torch.equal(out, exact) == (dtype == torch.float32)


@torch.no_grad()
def test_a_copy_and_another_type_have_kept_weights_of_their_own() -> None:
    torso = random_torso().eval()
    assert is_right(torso)
    other = copy.deepcopy(torso)
    _load(other)
    assert is_right(other)
    assert is_right(torso)
    assert is_right(torso.double())


def test_kept_weights_are_no_part_of_an_export() -> None:
    torso = random_torso().eval()
    with torch.no_grad():
        assert is_right(torso)
        frames = torch.randn(2, 1, 36, 40)
        exported = torch.export.export(torso, (frames,))
        assert not exported.constants
        torch.testing.assert_close(exported.module()(frames), torso(frames), rtol=1e-5, atol=1e-5)
        assert is_right(torso)


@torch.no_grad()
def test_inputs_of_every_block_are_divided_by_their_expected_deviation() -> None:
    # NFNet: the variance grows by alpha^2 a block; a transition block is still divided by what the stage before
    # left, and sets it back to 1 (Brock et al., 2021). Two blocks a stage: 1, 1.04 | 1.08, 1.04 | 1.08, 1.04
    torso = NFNetTorso(64, 64, widths=(8, 8, 8), blocks=2, group_width=4)
    assert [1 / block._beta**2 for block in torso.blocks] == pytest.approx([1.0, 1.04, 1.08, 1.04, 1.08, 1.04])


@torch.no_grad()
def test_an_open_residual_branch_adds_about_alpha_squared_of_variance() -> None:
    torch.manual_seed(0)
    block = NFNetTorso(64, 64, widths=(64, 64), blocks=2, group_width=16).blocks[1]
    block.skip_gain.fill_(1.0)
    x = torch.randn(4, 64, 16, 16) * math.sqrt(1.04)
    residual = (block(x) - x)[..., 3:-3, 3:-3]  # zero padding lowers it at the rim
    assert residual.var().item() == pytest.approx(0.2**2, rel=0.4)


def padded_patch(image: torch.Tensor, row: int, column: int, outside: float) -> torch.Tensor:
    """[C, H, W] -> [C, 3, 3] around a pixel."""
    channels, height, width = image.shape
    patch = torch.full((channels, 3, 3), outside)
    for i in range(3):
        for j in range(3):
            if 0 <= row + i - 1 < height and 0 <= column + j - 1 < width:
                patch[:, i, j] = image[:, row + i - 1, column + j - 1]
    return patch


def naive_convolution(image: torch.Tensor, conv: torch.nn.Conv2d) -> torch.Tensor:
    assert conv.bias is not None
    _, height, width = image.shape
    out = torch.zeros(conv.out_channels, height, width)
    for channel in range(conv.out_channels):
        for row in range(height):
            for column in range(width):
                patch = padded_patch(image, row, column, 0.0)
                out[channel, row, column] = (patch * conv.weight[channel]).sum() + conv.bias[channel]
    return out


def naive_maximum(image: torch.Tensor) -> torch.Tensor:
    _, height, width = image.shape
    rows = [
        torch.stack([padded_patch(image, row, column, -math.inf).amax((1, 2)) for column in range(0, width, 2)], dim=-1)
        for row in range(0, height, 2)
    ]
    return torch.stack(rows, dim=-2)


@torch.no_grad()
def test_the_impala_torso_by_a_naive_loop() -> None:
    torch.manual_seed(0)
    torso, frame = ImpalaTorso(9, 6, channels=(2, 3)), torch.randn(1, 1, 9, 6)
    layers, out = list(torso.layers), frame[0]
    for convolution, _, *blocks in (layers[:4], layers[4:8]):
        out = naive_maximum(naive_convolution(out, convolution))
        for block in blocks:
            inner = naive_convolution(out.clamp_min(0.0), block.convolution)
            out = out + naive_convolution(inner.clamp_min(0.0), block.convolution_2)
    assert out.shape == (3, 3, 2)
    torch.testing.assert_close(torso(frame)[0], out.clamp_min(0.0).flatten(), rtol=1e-4, atol=1e-5)


def _torso(kind: str, size: tuple[int, int]) -> Torso:
    spec = NetworkSpec(
        torso=kind, height=size[0], width=size[1], num_actions=4, num_policies=2, embedding_size=4,
        nfnet_widths=(8, 16), nfnet_blocks=1, nfnet_group_width=4, small_channels=(4, 8),
        impala_channels=(4, 8),
    )  # fmt: skip
    return make_torso(spec)


@pytest.mark.parametrize("size", [(210, 160), (84, 84), (36, 48)])
@pytest.mark.parametrize("kind", TORSOS)
@torch.no_grad()
def test_number_of_features_is_what_comes_out(kind: str, size: tuple[int, int]) -> None:
    torso = _torso(kind, size)
    out = torso(torch.rand(2, 1, *size))
    assert out.shape == (2, torso.num_features)
    assert torch.isfinite(out).all()


SIZES = [(210, 160), (84, 84), (60, 60), (52, 52), (48, 48), (42, 50), (36, 36), (30, 30), (20, 20), (16, 16)]


@pytest.mark.parametrize(
    ("kind", "size"),
    [(kind, size) for kind, torso in TORSOS.items() for size in SIZES if min(size) >= torso.smallest],
)
def test_every_pixel_is_seen(kind: str, size: tuple[int, int]) -> None:
    """A stride that does not come out even would leave out the right and lower edge, of Ms. Pac-Man's maze too."""
    torch.manual_seed(0)
    frames = torch.randn(16, 1, *size, requires_grad=True)
    _torso(kind, size)(frames).sum().backward()
    assert frames.grad is not None
    assert frames.grad.any(0).all()


def test_every_parameter_learns_once_the_gains_are_open() -> None:
    torch.manual_seed(0)
    torso = NFNetTorso(36, 36, widths=(8, 16), blocks=2, group_width=4)
    with torch.no_grad():
        for block in torso.blocks:
            block.skip_gain.fill_(0.5)
    torso(torch.rand(3, 1, 36, 36)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in torso.parameters())
