"""Messages between the learner and remote actors: plain blocks of bytes, never pickles."""

from __future__ import annotations

import json
from typing import Any

import safetensors.torch
from torch import Tensor

from meme57.actors.actor import Collected, EpisodeResult
from meme57.errors import ReplayError
from meme57.replay import decode_chunks, encode_chunks

HEADER_BYTES = 8
"""Bytes that hold the length of the JSON part, little-endian."""

State = dict[str, Tensor]


def pack_weights(network: State, novelty: State) -> bytes:
    """Pack both networks' tensors into one safetensors block."""
    named = {f"network.{name}": value for name, value in network.items()}
    named |= {f"novelty.{name}": value for name, value in novelty.items()}
    return bytes(safetensors.torch.save({name: value.contiguous() for name, value in named.items()}))


def unpack_weights(data: bytes) -> tuple[State, State]:
    """Undo `pack_weights`."""
    both: dict[str, State] = {"network": {}, "novelty": {}}
    for name, value in safetensors.torch.load(data).items():
        group, _, rest = name.partition(".")
        both[group][rest] = value
    return both["network"], both["novelty"]


def pack_answer(collected: Collected, facts: dict[str, Any]) -> bytes:
    """Pack what was collected, together with `facts` of JSON types."""
    header = {"steps": collected.num_steps, "episodes": [list(episode) for episode in collected.episodes], **facts}
    text = json.dumps(header).encode()
    return len(text).to_bytes(HEADER_BYTES, "little") + text + encode_chunks(collected.chunks)


def unpack_answer(data: bytes) -> tuple[Collected, dict[str, Any]]:
    """Undo `pack_answer`.

    Raises:
        ReplayError: the data are damaged.
    """
    end = HEADER_BYTES + int.from_bytes(data[:HEADER_BYTES], "little")
    try:
        facts = json.loads(data[HEADER_BYTES:end])
        episodes = [
            EpisodeResult(int(j), float(e), int(n), float(d), float(p), float(epsilon))
            for j, e, n, d, p, epsilon in facts.pop("episodes")
        ]
        steps = int(facts.pop("steps"))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ReplayError(f"an actor's answer is damaged: {error}") from error
    return Collected(chunks=decode_chunks(data[end:]), episodes=episodes, num_steps=steps), facts
