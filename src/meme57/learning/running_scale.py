"""The learner's moving estimate of the TD errors' standard deviation."""

from __future__ import annotations

import torch
from torch import Tensor


class RunningScale:
    """Exponential moments of the TD errors of N policies, bias-corrected, importance-weighted [ours]."""

    def __init__(self, num_policies: int, *, decay: float, device: torch.device) -> None:
        self._decay = decay
        self._moments = torch.zeros(2, num_policies, dtype=torch.float64, device=device)
        self._weight = torch.zeros((), dtype=torch.float64, device=device)

    @property
    def std(self) -> Tensor:
        """Standard deviation [N] float32; zeros before the first update."""
        mean, square = self._moments / self._weight.clamp_min(1e-12)
        std: Tensor = (square - mean.square()).clamp_min(0.0).sqrt().float()
        return std

    def update(self, td_errors: Tensor, mask: Tensor, importance: Tensor, usable: Tensor) -> None:
        """Add a batch if `usable` [] is True.  td_errors [T, B, N], mask [T, B] bool, importance [B]."""
        weights = (mask * importance).double().unsqueeze(-1)
        kept = td_errors.masked_fill(~mask.unsqueeze(-1), 0.0).double()
        total = weights.sum().clamp_min(1e-12)
        batch = torch.stack([(weights * kept).sum((0, 1)), (weights * kept.square()).sum((0, 1))]) / total
        moments = self._decay * self._moments + (1.0 - self._decay) * batch
        self._moments = torch.where(usable, moments, self._moments)
        self._weight = torch.where(usable, self._decay * self._weight + (1.0 - self._decay), self._weight)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state as tensors."""
        return {"moments": self._moments, "weight": self._weight}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore `state_dict()`. `ValueError`: it has another number of policies."""
        if state["moments"].shape != self._moments.shape:
            raise ValueError(f"moments {list(state['moments'].shape)} are not {list(self._moments.shape)}")
        self._moments = state["moments"].to(self._moments.device).clone()
        self._weight = state["weight"].to(self._weight.device).clone()
