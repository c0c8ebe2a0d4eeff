"""Estimating the memory and disk that a run needs, from its parameters, before it starts.

Networks are built without data (torch's meta device). So parameters and autograd's saved tensors are counted, not
guessed. The constants below are measured (docs/evaluation.md says on what). An estimate is good to about a third.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from meme57.agent.network import Features, MemeNetwork, no_features
from meme57.agent.novelty import NoveltyNetworks
from meme57.blueprint import agent_spec
from meme57.config import Parameters
from meme57.envs import EnvSpec

MIB, GIB = 2**20, 2**30
PROCESS_BYTES = 700 * MIB
"""Python with torch, Kedro, MLflow and pandas loaded."""
ENV_BYTES = 3 * MIB
"""An emulator with its screens and the open episode."""
FRAME_BYTES_PER_PIXEL = 0.012
FIRST_FRAME_BYTES_PER_PIXEL = 0.55
"""A chunk begins with one whole frame, so short chunks compress less."""
STEP_BYTES = 22
"""Action, rewards and mu of one agent step, without the embedding."""
CHUNK_BYTES = 2_900
"""The objects around a chunk in memory."""
ALLOCATOR_SHARE = 1.1
"""Memory that the allocator takes / memory in use."""
SNAPSHOT_SHARE = 1.3
"""Replay on disk / replay in memory: retained checkpoints keep older segments."""
SMALL_FILES_BYTES = 64 * MIB
"""Report, plots, video, tables, student."""

Parts = dict[str, int]


@dataclass(frozen=True)
class Estimate:
    """Bytes by part; `device` is the accelerator's memory, all 0 where the CPU learns."""

    memory: Parts = field(default_factory=dict)
    device: Parts = field(default_factory=dict)
    disk: Parts = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the bytes by part, and their sums."""
        kinds = {"memory": self.memory, "device": self.device, "disk": self.disk}
        return {kind: {**parts, "total": sum(parts.values())} for kind, parts in kinds.items()}


@dataclass(frozen=True)
class Resources:
    """What a machine has free, in bytes; None where that is unknown."""

    memory: int | None
    device: int | None
    disk: int | None


def estimate_resources(parameters: Parameters, env: EnvSpec, *, on_device: bool, done_frames: int = 0) -> Estimate:
    """Estimate a run's largest need: replay full, during an update, while a checkpoint is written.

    Actors on a Ray cluster that RAY_ADDRESS names need nothing here.

    Args:
        done_frames: of the newest checkpoint, up to which MLflow has its checkpoints.
    """
    network, novelty = _parameter_bytes(parameters, env)
    update = {
        "networks": 5 * network + 4 * novelty,  # weights, gradients, two moments, target; novelty has no target
        "update": int(ALLOCATOR_SHARE * update_bytes(parameters, env)),
    }
    host = {
        "process": PROCESS_BYTES,
        "replay": replay_bytes(parameters, env),
        "batches": (3 if parameters.learner.mode == "overlapped" else 2) * _batch_bytes(parameters, env),
    }
    on_ray, acting = parameters.actors.pool == "ray", network + novelty
    memories = parameters.env.num_envs * _episodic_bytes(parameters)
    acts_on_device = on_device and not on_ray
    if not (on_ray and os.environ.get("RAY_ADDRESS")):
        host |= {
            "environments": parameters.env.num_envs * ENV_BYTES + (0 if acts_on_device else memories),
            "acting": acting * (parameters.ray.workers if on_ray else 1),
        }
        if on_ray:
            host["actors"] = parameters.ray.workers * PROCESS_BYTES + parameters.ray.object_store_mb * MIB
    return Estimate(
        memory=host if on_device else host | update,
        device=update | ({"acting": acting + memories} if acts_on_device else {}) if on_device else {},
        disk=_disk(parameters, env, network, novelty, done_frames),
    )


def replay_bytes(parameters: Parameters, env: EnvSpec) -> int:
    """Return the bytes of the full replay in memory: as many steps as fit, or as the run plays."""
    return int(_num_chunks(parameters) * (_chunk_bytes(parameters, env) + CHUNK_BYTES))


def update_bytes(parameters: Parameters, env: EnvSpec) -> int:
    """Return the bytes that autograd keeps for one update, and those of the target network's outputs."""
    spec = agent_spec(parameters, env).network
    steps, batch = 2 * parameters.replay.period + 1, parameters.learner.batch_size
    with torch.device("meta"):
        network = MemeNetwork(spec)
        images = torch.empty(batch * steps, 1, spec.height, spec.width)
        features = no_features(spec, steps, batch)
        state = torch.empty(2, batch, spec.lstm_size)
        kept = _saved_bytes(network, images, features, state)
    width = 2 if parameters.learner.precision == "bfloat16" else 4
    outputs = 3 * steps * batch * spec.num_policies * spec.num_actions * 4
    return int(kept * width / 4) + images.numel() * width * 2 + 4 * outputs


def shortfall(estimate: Estimate, resources: Resources, *, run_name: str) -> str | None:
    """Return one line on the first thing that does not fit and what to change; None when everything fits."""
    for kind, has in (("disk", resources.disk), ("memory", resources.memory), ("device", resources.device)):
        parts: Parts = getattr(estimate, kind)
        needed = sum(parts.values())
        if has is not None and needed > has:
            largest = sorted(parts.items(), key=lambda part: -part[1])[:3]
            shares = ", ".join(f"{name} {size / GIB:.1f}" for name, size in largest)
            return (
                f"run {run_name!r} needs about {needed / GIB:.1f} GiB of {WORDS[kind]} ({shares}), and "
                f"{has / GIB:.1f} GiB are free: {REMEDIES[largest[0][0]]}, or run.check_resources=false to try it "
                "anyway"
            )
    return None


def together(estimate: Estimate, count: int, resources: Resources, *, run_name: str) -> str | None:
    """Return one line if so many runs that need as much do not fit side by side; their disk is not looked at."""
    for kind, has in (("memory", resources.memory), ("device", resources.device)):
        needed = count * sum(getattr(estimate, kind).values())
        if has is not None and needed > has:
            return (
                f"{count} runs like {run_name!r} at a time need about {needed / GIB:.1f} GiB of {WORDS[kind]}, and "
                f"{has / GIB:.1f} GiB are free: lower suite.workers, or run.check_resources=false to try it anyway"
            )
    return None


def describe(estimate: Estimate) -> str:
    """Describe the sums in one line."""
    sums = [f"{sum(parts.values()) / GIB:.2f} GiB of {WORDS[kind]}" for kind, parts in _kinds(estimate) if parts]
    return f"needs about {', '.join(sums)}"


WORDS = {"disk": "disk", "memory": "memory", "device": "the accelerator's memory"}
REMEDIES = {
    "process": "use a machine with more memory",
    "replay": "lower replay.capacity_sequences",
    "replay snapshot": "make room, or lower replay.capacity_sequences",
    "seed replay": "make room, or lower replay.min_sequences",
    "batches": "lower learner.batch_size",
    "update": "lower learner.batch_size, replay.period, or env.height and env.width",
    "networks": "choose a smaller network (network.torso, network.lstm_size)",
    "acting": "choose a smaller network (network.torso, network.lstm_size)",
    "environments": "lower env.num_envs or novelty.memory_size",
    "actors": "lower ray.workers",
    "checkpoints": "make room, or lower run.keep_checkpoints",
    "checkpoints in MLflow": "make room, or raise run.checkpoint_period_frames",
    "small files": "make room",
}
"""Largest part -> what to change."""


def _kinds(estimate: Estimate) -> tuple[tuple[str, Parts], ...]:
    return ("memory", estimate.memory), ("device", estimate.device), ("disk", estimate.disk)


def _disk(parameters: Parameters, env: EnvSpec, network: int, novelty: int, done_frames: int) -> Parts:
    run = parameters.run
    kept = run.keep_checkpoints + 2  # the best one, and the one being written
    to_come = -(-max(0, run.total_frames - done_frames) // run.checkpoint_period_frames)
    seed_chunks = min(parameters.replay.min_sequences, parameters.replay.capacity_sequences)
    return {
        "replay snapshot": int(SNAPSHOT_SHARE * _num_chunks(parameters) * _chunk_bytes(parameters, env)),
        "seed replay": int(seed_chunks * _chunk_bytes(parameters, env)),
        "checkpoints": kept * (4 * network + 3 * novelty),
        "checkpoints in MLflow": to_come * (network + novelty),
        "small files": SMALL_FILES_BYTES,
    }


def _num_chunks(parameters: Parameters) -> int:
    frames_a_chunk = parameters.env.frame_skip * parameters.replay.period
    return min(parameters.replay.capacity_sequences + 1, -(-parameters.run.total_frames // frames_a_chunk))


def _chunk_bytes(parameters: Parameters, env: EnvSpec) -> float:
    """Return the bytes of one chunk's data, in memory or on disk; a vector is counted uncompressed."""
    period, pixels = parameters.replay.period, env.height * env.width
    is_image = env.frame_dtype == "uint8"
    frame, first = (FRAME_BYTES_PER_PIXEL, FIRST_FRAME_BYTES_PER_PIXEL) if is_image else (4.0, 4.0)
    step = STEP_BYTES + 2 * parameters.novelty.embedding_size + frame * pixels
    state = 2 * 4 * parameters.network.lstm_size
    return period * step + first * pixels + state


def _batch_bytes(parameters: Parameters, env: EnvSpec) -> int:
    steps = 2 * parameters.replay.period + 1
    per_step = (
        env.height * env.width * (1 if env.frame_dtype == "uint8" else 4) + 64 + 2 * parameters.novelty.embedding_size
    )
    return parameters.learner.batch_size * steps * per_step


def _episodic_bytes(parameters: Parameters) -> int:
    novelty = parameters.novelty
    steps = min(novelty.memory_size, parameters.env.max_episode_frames // parameters.env.frame_skip)
    return 4 * steps * novelty.embedding_size if novelty.enabled else 0


def _parameter_bytes(parameters: Parameters, env: EnvSpec) -> tuple[int, int]:
    """Return the float32 bytes of the agent's network and of the novelty networks."""
    spec = agent_spec(parameters, env)
    with torch.device("meta"):
        network, novelty = MemeNetwork(spec.network), NoveltyNetworks(spec.novelty)
    return _numel(network) * 4, _numel(novelty) * 4


def _numel(module: nn.Module) -> int:
    return sum(tensor.numel() for tensor in module.state_dict().values())


def _saved_bytes(network: MemeNetwork, images: Tensor, features: Features, state: Tensor) -> int:
    """Return the bytes that autograd saves in one pass, each storage once, without the parameters."""
    own = {parameter.untyped_storage()._cdata for parameter in network.parameters()}
    seen: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            seen[storage._cdata] = storage.nbytes()
            alive.append(tensor)  # otherwise its storage's address would be used again
        return tensor

    alive: list[Tensor] = []
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        network.unroll(images, features, state)
    return sum(seen.values())
