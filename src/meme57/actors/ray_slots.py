"""The driver's record of each place for an actor, and how the place gets one: started, asked for rounds, given up."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from meme57.actors.actor import Collected
from meme57.actors.ray_cluster import machines
from meme57.config.groups import RayParameters

LONGEST_BACKOFF_SECONDS = 30.0
NOTICE_SECONDS = 30.0

logger = logging.getLogger(__name__)


@dataclass
class Worker:
    """An actor that is alive, as far as the driver knows. Answers come in the order of the requests."""

    life: int
    handle: Any
    questions: deque[Any] = field(default_factory=deque)
    """References to answers that have not arrived, oldest first."""
    since: float = 0.0
    """When the oldest request began to wait."""
    has_begun: bool = False
    is_forgiven: bool = False
    """Whether its silence was forgiven once because the driver was busy; until its next answer it is not again."""
    num_cuts: int = 0
    """How often it was asked to end its episodes."""
    node: str = ""
    where: str = "no machine yet"


@dataclass
class Slot:
    """One of `ray.workers` places; its actor plays a fixed share of the environments."""

    number: int
    num_envs: int
    pending: list[int]
    """Plays of the shared bandit that its actor has selected and not finished, per arm."""
    worker: Worker | None = None
    state: dict[str, Any] | None = None
    """The state that the actor reported last; the next actor in this place inherits it."""
    state_time: float = float("-inf")
    life: int | None = None
    """The life of the next actor here, under exact resume; None: a new one."""
    num_failures: int = 0
    """Actors lost in a row."""
    not_before: float = float("-inf")
    answers: list[Collected] = field(default_factory=list)
    """Received, but not yet returned by `collect`."""

    def lose(self, now: float) -> Worker:
        """Give up its actor. The next one begins at once, or later after repeated failures."""
        assert self.worker is not None
        worker, self.worker = self.worker, None
        self.pending = [0] * len(self.pending)
        self.not_before = now + backoff_seconds(self.num_failures)
        self.num_failures += 1
        self.life = None
        return worker


def backoff_seconds(num_failures: int) -> float:
    """Return 0, 1, 2, 4 ... seconds between an actor and the next one in its place."""
    return 0.0 if num_failures == 0 else float(min(LONGEST_BACKOFF_SECONDS, 2.0 ** (num_failures - 1)))


def first_choices(num_envs: int, before: int, num_policies: int) -> list[int]:
    """Count how often `num_envs` environments choose each policy first, if `before` others began: they take turns."""
    counts = [0] * num_policies
    for env in range(before, before + num_envs):
        counts[env % num_policies] += 1
    return counts


class Suspects:
    """Machines whose actors stopped answering. They are avoided for a while, since Ray notices only later."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds, self._clock = seconds, clock
        self._until: dict[str, float] = {}

    def add(self, node: str) -> None:
        """Record that an actor on this node has just stopped answering."""
        if node:
            self._until[node] = self._clock() + self._seconds

    def current(self) -> list[str]:
        """Return the nodes that stopped answering recently."""
        now = self._clock()
        self._until = {node: until for node, until in self._until.items() if until > now}
        return sorted(self._until)


class Attendance:
    """Reports when no actor plays and when one plays again, and counts the time between."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since: float | None = None
        self._noticed = 0.0
        self.waited_seconds = 0.0

    def begin(self) -> None:
        """Note that actors were requested; the first warning comes later, since they need a while."""
        self._since = self._noticed = self._clock()

    def update(self, playing: int, places: int) -> None:
        """Note that `playing` of `places` actors play now, and log a change."""
        now = self._clock()
        if playing:
            if self._since is not None:
                self.waited_seconds += now - self._since
                logger.info("%d of %d actors play", playing, places)
            self._since = None
            return
        if self._since is None:
            self._since, self._noticed = now, float("-inf")
        if now - self._noticed > NOTICE_SECONDS:
            self._noticed = now
            logger.warning("no actor plays: learning waits for the first of %d", places)


def placement(ray: Any, settings: RayParameters, suspects: list[str]) -> dict[str, Any]:
    """Return the options of an actor: spread over the machines, avoiding the suspects while there are others."""
    options: dict[str, Any] = {
        "num_cpus": settings.cpus_per_worker,
        "num_gpus": settings.gpus_per_worker,
        "max_restarts": 0,
        "scheduling_strategy": "SPREAD",
    }
    if suspects and any(node not in suspects for node in machines(ray)):
        options["label_selector"] = {"ray.io/node-id": f"!in({','.join(suspects)})"}
    return options


def one_line(error: BaseException) -> str:
    """Return the error's kind and first sentence and, if it holds a traceback, the last line, which is the cause."""
    lines = [line for line in str(error).splitlines() if line.strip()] or [""]
    cause = f" ({lines[-1].strip()[:200]})" if "Traceback" in str(error) else ""
    return f"{type(error).__name__}: {' '.join(lines[0].split()).partition('. ')[0][:200]}{cause}"
