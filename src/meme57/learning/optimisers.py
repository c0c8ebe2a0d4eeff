"""Adam: which weights decay, steps that the device may drop, and its state as tensors of a checkpoint."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def parameter_groups(network: nn.Module, *, weight_decay: float) -> list[dict[str, Any]]:
    """Apply weight decay to matrices and kernels, not to biases and gains [ours]."""
    named = list(network.named_parameters())
    exempt = [p.ndim <= 1 or name.endswith(("bias", "gain")) for name, p in named]
    decayed = [p for (_, p), is_exempt in zip(named, exempt, strict=True) if not is_exempt]
    others = [p for (_, p), is_exempt in zip(named, exempt, strict=True) if is_exempt]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def step_where(optimiser: torch.optim.Optimizer, usable: Tensor) -> None:
    """Take a step of a fused Adam if `usable` [] bool. The device decides, so the host does not wait.

    If `found_inf` is 1, the fused kernels change no weights, moments or step counts; gradient scalers use that too.
    """
    optimiser.found_inf = (~usable).to(torch.float32)  # type: ignore[attr-defined]
    optimiser.step()


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return Adam's moments and steps under flat names: `<parameter index>.<name>`."""
    state = optimiser.state_dict()["state"]
    return {f"{i}.{key}": value.detach().cpu().clone() for i, entry in state.items() for key, value in entry.items()}


def load_optimiser_tensors(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Restore `optimiser_tensors`; moments get the memory format of their parameter, as fused Adam requires.

    `ValueError`: a tensor is missing or superfluous, or has another shape than its parameter.
    """
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, key = name.split(".", 1)
        parameter = parameters[int(index)]
        if value.shape != (torch.Size() if key == "step" else parameter.shape):
            raise ValueError(f"{name} has shape {list(value.shape)}, its parameter {list(parameter.shape)}")
        like = value if key == "step" else parameter
        copy = torch.empty_like(like, dtype=value.dtype).copy_(value)  # what was read keeps the checkpoint's file open
        state.setdefault(int(index), {})[key] = copy.detach()
    for number, entry in state.items():
        if entry.keys() != {"step", "exp_avg", "exp_avg_sq"}:
            raise ValueError(f"parameter {number} has {sorted(entry)}, not the state of Adam")
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
