"""How many frames a second one learner gets from many actor machines: the smallest of five limits.  Source: [ours].

A pure function of what was measured at small scale. Every limit is in agent steps a second:

    actors        machines * steps a second of one machine
    learner       updates a second * batch / samples per insert * period
    taking in     1 / (seconds a chunk / period + seconds an answer / steps of an answer)
    network in    bandwidth / bytes a step
    network out   bandwidth / (bytes of the weights / steps of an answer): each machine takes new weights once a round
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Costs:
    """What one step, one chunk and one answer cost; an infinite rate is no limit."""

    machine_steps_per_second: float
    answer_steps: float
    """Steps of one answer: environments of a machine times `actors.weights_period_steps`."""
    chunk_seconds: float
    """The driver's, to decode a chunk and to add it to replay."""
    answer_seconds: float = 0.0
    """The driver's, for an answer as such."""
    bytes_per_step: float = 0.0
    weights_bytes: float = 0.0
    bandwidth: float = math.inf
    """Bytes a second of the learner's network card, each way."""
    updates_per_second: float = math.inf
    batch_size: int = 64
    samples_per_insert: float = 6.0
    period: int = 80
    frame_skip: int = 4


@dataclass(frozen=True)
class Prediction:
    """Frames a second, and what stands in the way of more."""

    frames_per_second: float
    limit: str


def limits(machines: int, costs: Costs) -> dict[str, float]:
    """Agent steps a second that each part would allow."""
    taking_in = costs.chunk_seconds / costs.period + costs.answer_seconds / costs.answer_steps
    return {
        "actors": machines * costs.machine_steps_per_second,
        "learner": costs.updates_per_second * costs.batch_size / costs.samples_per_insert * costs.period,
        "taking in": _rate(taking_in),
        "network in": costs.bandwidth * _rate(costs.bytes_per_step),
        "network out": costs.bandwidth * _rate(costs.weights_bytes / costs.answer_steps),
    }


def predict(machines: int, costs: Costs) -> Prediction:
    """The smallest limit, in frames a second."""
    allowed = limits(machines, costs)
    name = min(allowed, key=lambda part: allowed[part])
    return Prediction(allowed[name] * costs.frame_skip, name)


def _rate(cost: float) -> float:
    return 1.0 / cost if cost > 0 else math.inf
