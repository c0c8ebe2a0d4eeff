"""How many frames per second one learner gets from many actor machines: the smallest of five limits.  Source: [ours].

A pure function of measurements at small scale. Every limit is in agent steps per second:

    actors        machines * steps per second of one machine
    learner       updates per second * batch / samples per insert * period
    taking in     1 / (seconds per chunk / period + seconds per answer / steps of an answer)
    network in    bandwidth / bytes per step
    network out   bandwidth / (bytes of the weights / steps of an answer): each machine takes new weights once a round
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Costs:
    """The cost of one step, one chunk and one answer; an infinite rate is no limit."""

    machine_steps_per_second: float
    answer_steps: float
    """Steps of one answer: environments of a machine times `actors.weights_period_steps`."""
    chunk_seconds: float
    """The driver's time to decode a chunk and to add it to replay."""
    answer_seconds: float = 0.0
    """The driver's time for an answer, without its chunks."""
    bytes_per_step: float = 0.0
    weights_bytes: float = 0.0
    bandwidth: float = math.inf
    """Bytes per second of the learner's network card, each way."""
    updates_per_second: float = math.inf
    batch_size: int = 64
    samples_per_insert: float = 6.0
    period: int = 80
    frame_skip: int = 4


@dataclass(frozen=True)
class Prediction:
    """Frames per second, and the limit that prevents more."""

    frames_per_second: float
    limit: str


def limits(machines: int, costs: Costs) -> dict[str, float]:
    """Compute the agent steps per second that each part would allow."""
    taking_in = costs.chunk_seconds / costs.period + costs.answer_seconds / costs.answer_steps
    return {
        "actors": machines * costs.machine_steps_per_second,
        "learner": costs.updates_per_second * costs.batch_size / costs.samples_per_insert * costs.period,
        "taking in": _rate(taking_in),
        "network in": costs.bandwidth * _rate(costs.bytes_per_step),
        "network out": costs.bandwidth * _rate(costs.weights_bytes / costs.answer_steps),
    }


def predict(machines: int, costs: Costs) -> Prediction:
    """Find the smallest limit, in frames per second."""
    allowed = limits(machines, costs)
    name = min(allowed, key=lambda part: allowed[part])
    return Prediction(allowed[name] * costs.frame_skip, name)


def _rate(cost: float) -> float:
    return 1.0 / cost if cost > 0 else math.inf
