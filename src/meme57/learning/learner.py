"""The learner: one update of the agent and of its novelty networks from one batch of sequences."""

from __future__ import annotations

import math
import threading
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from meme57.agent.dynamics import Steps
from meme57.agent.family import PolicyFamily
from meme57.agent.frames import shift
from meme57.agent.network import NetworkOutput
from meme57.blueprint import AgentSpec, make_networks
from meme57.config import Parameters
from meme57.errors import NonFiniteLossError
from meme57.learning.health import PERIOD_UPDATES, health
from meme57.learning.objective import Objective, Scales, objective
from meme57.learning.optimisers import (
    load_optimiser_tensors,
    optimiser_tensors,
    parameter_groups,
    step_where,
)
from meme57.learning.running_scale import RunningScale
from meme57.learning.tensors import TensorBatch, to_tensors, with_newest_embeddings
from meme57.replay.chunks import SequenceBatch

Metrics = dict[str, Tensor]
NUM_FACTS = 5
"""How many numbers follow the priorities in an update's outcome."""
NOVELTY_LOSSES = ("novelty/action_loss", "novelty/rnd_loss")


class Prepared(NamedTuple):
    """A batch on the device, with everything that can be computed without the online weights."""

    batch: TensorBatch
    images: Tensor  # [B * (T+1), 1, H, W] centred frames
    target: NetworkOutput  # of the target network
    novelty_metrics: Metrics
    novelty_facts: Tensor  # [2] loss and gradient norm of the novelty networks; zeros without them


class Pending(NamedTuple):
    """An update that was sent to the device."""

    outcome: Tensor  # [B + 5] on the host: priorities, loss, gradient norm, whether it was usable, novelty's loss, norm
    copied: torch.cuda.Event | None  # after it `outcome` may be read; None: immediately
    metrics: Metrics


class Learner:
    """Owns online and target network, novelty networks, optimisers and running scales."""

    def __init__(self, parameters: Parameters, spec: AgentSpec, *, device: torch.device | str = "cpu") -> None:
        self._parameters = parameters
        self.device = torch.device(device)
        self._family = PolicyFamily(spec.family.gammas.to(self.device), spec.family.betas.to(self.device))
        online, novelty = make_networks(spec, seed=parameters.run.seed)
        target, _ = make_networks(spec, seed=parameters.run.seed)
        self.network, self.target = online.to(self.device), target.to(self.device).requires_grad_(False).eval()
        self.novelty = novelty.to(self.device)
        learner = parameters.learner
        self.optimiser = torch.optim.AdamW(
            parameter_groups(self.network, weight_decay=learner.weight_decay),
            lr=learner.learning_rate, eps=learner.adam_eps, fused=True,
        )  # fmt: skip
        trainable = [p for p in self.novelty.parameters() if p.requires_grad]
        self.novelty_optimiser = torch.optim.Adam(trainable, lr=parameters.novelty.learning_rate, fused=True)
        decay, n = parameters.loss.sigma_decay, self._family.num_policies
        self.scales = {name: RunningScale(n, decay=decay, device=self.device) for name in ("extrinsic", "intrinsic")}
        self._target_lock, self._novelty_lock = threading.Lock(), threading.Lock()  # `prepare` may run in a thread
        self.num_updates = 0
        self.num_skipped = 0
        self._bad_in_a_row = {"learner": 0, "novelty": 0}

    @property
    def has_fitted_frames(self) -> bool:
        """Whether every network is centred on frames; a warm start begins so."""
        return all(network.frames.is_fitted for network in (self.network, self.target, self.novelty))

    def fit_frames(self, frames: Tensor) -> None:
        """Centre each network that is not yet on these frames [M, H, W] uint8; once, before the first update."""
        for network in (self.network, self.target, self.novelty):
            if not network.frames.is_fitted:
                network.frames.fit(frames)

    def update(self, batch: SequenceBatch) -> tuple[npt.NDArray[np.float32], Metrics]:
        """Make one update: `prepare`, `start` and `finish`."""
        return self.finish(self.start(self.prepare(batch)))

    def prepare(self, batch: SequenceBatch) -> Prepared:
        """Do all that needs no online weights: tensors on the device, target network's outputs, novelty's training.

        It may run in another thread than the rest. `batch` must not change until `finish`.
        """
        tensors = to_tensors(batch, self.device)
        tensors = with_newest_embeddings(tensors, self.novelty, num_actions=self.network.spec.num_actions)
        with self._target_lock, torch.no_grad(), self._autocast():
            images = self.network.frames(tensors.frames.flatten(0, 1))  # both networks are centred on the same frames
            if most := self._parameters.learner.shift_pixels:
                rng = np.random.default_rng([self._parameters.run.seed, 6, self.num_updates])
                offsets = rng.integers(-most, most, (len(tensors.frames), 2), endpoint=True)
                images = shift(images, offsets.tolist(), most=most)
            target = self.target.unroll(images, tensors.features, tensors.state)
        novelty: tuple[Metrics, Tensor] = {}, torch.zeros(2, device=self.device)
        if self._parameters.novelty.enabled:
            novelty = self._update_novelty(tensors)
        return Prepared(tensors, images, target, *novelty)

    def start(self, prepared: Prepared) -> Pending:
        """Send one update to the device without waiting for it.

        If the loss or gradient is not finite, the device itself drops the step and the agent does not change.
        """
        tensors = prepared.batch
        online, result = self._objective(prepared)
        loss, model_metrics = self._with_model(result.loss, online, prepared)
        gradient_norm, usable = self._step(loss)
        for name, component in (("extrinsic", result.extrinsic), ("intrinsic", result.intrinsic)):
            self.scales[name].update(component.td_errors, tensors.mask, tensors.importance, usable)
        metrics = _metrics(result, tensors, gradient_norm) | prepared.novelty_metrics | model_metrics
        if self.num_updates % PERIOD_UPDATES == 0:
            metrics |= health(
                self.network, online, prepared.target, result, tensors, prepared.images, self._parameters.loss
            )
        facts = torch.stack([loss.detach(), gradient_norm, usable])
        return Pending(*to_host(torch.cat([result.priorities.detach(), facts, prepared.novelty_facts])), metrics)

    def finish(self, pending: Pending) -> tuple[npt.NDArray[np.float32], Metrics]:
        """Wait for a started update; return new priorities [B] and metrics (tensors [], read them only to log them).

        If the update was dropped, the priorities are 1 and there are no metrics.

        Raises:
            NonFiniteLossError: `learner.max_bad_updates` updates in a row had a non-finite loss or gradient.
        """
        if pending.copied is not None:
            pending.copied.synchronize()
        priorities = pending.outcome[:-NUM_FACTS].numpy()
        loss, gradient_norm, usable, novelty_loss, novelty_norm = pending.outcome[-NUM_FACTS:].tolist()
        metrics = pending.metrics
        if not math.isfinite(novelty_loss + novelty_norm):
            self._count_skipped("novelty", novelty_loss, novelty_norm)
            metrics = {name: value for name, value in metrics.items() if name not in NOVELTY_LOSSES}
        else:
            self._bad_in_a_row["novelty"] = 0
        if not usable:
            self._count_skipped("learner", loss, gradient_norm)
            return np.ones_like(priorities), {}
        self._bad_in_a_row["learner"] = 0
        self.num_updates += 1
        if self.num_updates % self._parameters.learner.target_period_updates == 0:
            with self._target_lock:
                self.target.load_state_dict(self.network.state_dict())
        return priorities, metrics

    def _objective(self, prepared: Prepared) -> tuple[NetworkOutput, Objective]:
        batch = prepared.batch
        with self._autocast():
            online = self.network.unroll(prepared.images, batch.features, batch.state)
        scales = Scales(self.scales["extrinsic"].std, self.scales["intrinsic"].std)
        return online, objective(
            online, prepared.target, batch, self._family, scales, self._parameters.loss,
            priority_eta=self._parameters.replay.priority_eta,
        )  # fmt: skip

    def _with_model(self, loss: Tensor, online: NetworkOutput, prepared: Prepared) -> tuple[Tensor, Metrics]:
        """Add the weighted losses of the model of the next steps, where there is one; return their metrics too."""
        model, weights, batch = self.network.dynamics, self._parameters.loss, prepared.batch
        if model is None:
            return loss, {}
        steps = Steps(batch.actions, batch.rewards, batch.mask, batch.continues)
        with self._autocast():
            rewards, outputs = model.losses(online.core, prepared.target.core, steps, horizon=weights.dynamics_steps)
        loss = loss + weights.dynamics_weight * (rewards + outputs)
        return loss, {
            "loss/total": loss.detach(),
            "loss/predicted_rewards": rewards.detach(),
            "loss/predicted_outputs": outputs.detach(),
        }

    def _autocast(self) -> torch.autocast:
        is_bfloat16 = self._parameters.learner.precision == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=is_bfloat16)

    def _step(self, loss: Tensor) -> tuple[Tensor, Tensor]:
        """Take the step if it is usable; return the gradient's norm [], and whether it was taken [] bool."""
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(
            self.network.parameters(), self._parameters.learner.max_gradient_norm, foreach=True
        )
        usable = torch.isfinite(norm) & torch.isfinite(loss.detach())
        step_where(self.optimiser, usable)
        return norm.detach(), usable

    def _count_skipped(self, group: str, loss: float, gradient_norm: float) -> None:
        self.num_skipped += 1
        self._bad_in_a_row[group] += 1
        if (in_a_row := self._bad_in_a_row[group]) >= self._parameters.learner.max_bad_updates:
            raise NonFiniteLossError(
                f"{group} loss {loss} with gradient norm {gradient_norm} in {in_a_row} updates in a row: "
                f"lower {group}.learning_rate under another run.name, or run the same command (without run.fresh) to "
                "resume from the last checkpoint"
            )

    def _update_novelty(self, batch: TensorBatch) -> tuple[Metrics, Tensor]:
        frames, actions, mask = last_steps(batch, self._parameters.novelty.train_steps)
        inverse_loss, rnd_loss, error = self.novelty.losses(frames, actions, mask)
        loss = inverse_loss + rnd_loss
        self.novelty_optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.get_total_norm([p.grad for p in self.novelty.parameters() if p.grad is not None], foreach=True)
        facts = torch.stack([loss.detach(), norm])
        usable = torch.isfinite(facts).all()
        with self._novelty_lock:
            step_where(self.novelty_optimiser, usable)
            self.novelty.update_statistics(error.flatten(), mask.flatten() & usable)
        return dict(zip(NOVELTY_LOSSES, (inverse_loss.detach(), rnd_loss.detach()), strict=True)), facts

    def weights(self) -> tuple[dict[str, Tensor], dict[str, Tensor], int]:
        """Return copies of the states of network and novelty networks for actors, and the number of updates."""
        with self._novelty_lock:
            novelty = copy_state(self.novelty)
        return copy_state(self.network), novelty, self.num_updates

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Return everything but the counters, for a checkpoint: file name -> tensors."""
        scales = {f"{name}.{key}": value for name, s in self.scales.items() for key, value in s.state_dict().items()}
        return {
            "network": copy_state(self.network),
            "target": copy_state(self.target),
            "novelty": copy_state(self.novelty),
            "optimiser": optimiser_tensors(self.optimiser),
            "novelty_optimiser": optimiser_tensors(self.novelty_optimiser),
            "scales": scales,
        }

    def load_tensors(self, files: dict[str, dict[str, Tensor]]) -> None:
        """Restore `tensors()`."""
        self.network.load_state_dict(files["network"])
        self.target.load_state_dict(files["target"])
        self.novelty.load_state_dict(files["novelty"])
        load_optimiser_tensors(self.optimiser, files["optimiser"])
        load_optimiser_tensors(self.novelty_optimiser, files["novelty_optimiser"])
        self.load_scales(files["scales"])

    def load_scales(self, tensors: dict[str, Tensor]) -> None:
        """Restore the running scales of `tensors()`. `ValueError`: they are of another number of policies."""
        for name, scale in self.scales.items():
            scale.load_state_dict({key: tensors[f"{name}.{key}"] for key in ("moments", "weight")})

    def state_dict(self) -> dict[str, Any]:
        """Return the counters, as JSON types."""
        return {"num_updates": self.num_updates, "num_skipped": self.num_skipped}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict()`."""
        self.num_updates, self.num_skipped = state["num_updates"], state["num_skipped"]
        if self.num_updates > 0 and not self.optimiser.state:
            raise ValueError(f"{self.num_updates} updates left no state of the optimiser")


def last_steps(batch: TensorBatch, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the last `count` real steps of each sequence: frames [K+1, B, H, W], actions [K, B], mask [K, B]."""
    count = min(count, len(batch.actions))
    first = (batch.lengths - count).clamp_min(0)
    steps = first + torch.arange(count + 1, device=first.device).unsqueeze(1)
    columns = torch.arange(steps.shape[1], device=first.device)
    mask = steps[:-1] < batch.lengths
    return batch.frames[columns, steps], batch.actions[steps[:-1], columns], mask


def to_host(outcome: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
    """Copy the tensor to the host; return it and the event after which it is there (None: immediately)."""
    if outcome.device.type != "cuda":
        return outcome, None
    host = torch.empty(outcome.shape, dtype=outcome.dtype, pin_memory=True)
    host.copy_(outcome, non_blocking=True)
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record()
    return host, event


def copy_state(module: nn.Module) -> dict[str, Tensor]:
    """Copy a module's parameters and buffers to the CPU, detached."""
    return {name: value.detach().to("cpu", copy=True) for name, value in module.state_dict().items()}


def _metrics(result: Objective, batch: TensorBatch, gradient_norm: Tensor) -> Metrics:
    """Compute diagnostics over real steps; rates are the shares that were dropped."""
    steps = batch.mask.sum().clamp_min(1)

    def share(kept: Tensor) -> Tensor:
        return 1.0 - (kept & batch.mask.unsqueeze(-1)).sum() / (steps * kept.shape[-1])

    mask = batch.mask.unsqueeze(-1)
    return {
        "loss/total": result.loss.detach(),
        "loss/value": result.value_loss,
        "loss/distillation": result.policy_loss,
        "learner/trust_region_rate": share(result.extrinsic.kept),
        "learner/kl_rate": share(result.policy_kept),
        "learner/trace": (result.traces * mask).sum() / (steps * result.traces.shape[-1]),
        "learner/gradient_norm": gradient_norm.detach(),
        "learner/sigma_extrinsic": result.extrinsic.sigma.mean(),
        "learner/sigma_intrinsic": result.intrinsic.sigma.mean(),
        "novelty/intrinsic_reward": (batch.intrinsic_rewards * batch.mask).sum() / steps,
        "novelty/lifelong": (batch.features.lifelong[1:] * batch.mask).sum() / steps,
    }
