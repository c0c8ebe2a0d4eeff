"""Spreads whole tasks, such as a study's workers, over processes of this machine or over a Ray cluster.

A task is a function of a module and one argument, both of which can be pickled. A task that dies or raises does not
end the others. Importing this does not import Ray.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from meme57 import stopping, streams
from meme57.actors.ray_cluster import connect, import_ray
from meme57.errors import one_line

log = logging.getLogger(__name__)

POLL_SECONDS = 0.2

Task = Callable[[Any], Any]


@dataclass(frozen=True)
class Outcome:
    """The result of one task: its value, or one line that says why there is none."""

    value: Any = None
    error: str | None = None


class Executor(Protocol):
    """Runs a function once for each argument, in parallel."""

    def run(
        self, function: Task, arguments: Sequence[Any], *, stop: Callable[[], bool] = stopping.never
    ) -> list[Outcome]:
        """Return the outcomes in the order of the arguments; once `stop` says so, ask every task to stop."""


class LocalExecutor:
    """One new process for each task, `workers` at a time. They end when this process does, however it ends."""

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def run(
        self, function: Task, arguments: Sequence[Any], *, stop: Callable[[], bool] = stopping.never
    ) -> list[Outcome]:
        """Run the tasks as `Executor` says; SIGTERM asks a task to stop (`meme57.stopping`)."""
        context = multiprocessing.get_context("spawn")
        with stopping.kept_from_children():
            resource_tracker.ensure_running()  # now: if it started with the first task, that task would get SIGINT
        outcomes = [Outcome(error="not begun: asked to stop")] * len(arguments)
        waiting = list(enumerate(arguments))
        running: dict[Connection, tuple[int, Any]] = {}
        asked = False
        while running or (waiting and not stop()):
            while waiting and len(running) < self._workers and not stop():
                index, argument = waiting.pop(0)
                receiver, sender = context.Pipe(duplex=False)
                process = context.Process(target=_child, args=(sender, function, argument))
                with stopping.kept_from_children():
                    process.start()
                sender.close()
                running[receiver] = (index, process)
            if stop() and not asked:
                asked = True
                for _, process in running.values():
                    process.terminate()
            for ready in wait(list(running), timeout=POLL_SECONDS):
                assert isinstance(ready, Connection)
                index, process = running.pop(ready)
                outcomes[index] = _receive(ready, process)
        return outcomes


class RayExecutor:
    """One Ray task for each argument; Ray places them, on this machine or on the cluster that RAY_ADDRESS names.

    A task reserves `cpus` and `gpus`, which may be fractions. It sees those GPUs, or all if it reserved none.
    """

    def __init__(self, *, cpus: float = 1.0, gpus: float = 0.0) -> None:
        self._cpus, self._gpus = cpus, gpus

    def run(
        self, function: Task, arguments: Sequence[Any], *, stop: Callable[[], bool] = stopping.never
    ) -> list[Outcome]:
        """Run the tasks as `Executor` says; to stop a task, Ray cancels it, which raises SIGINT inside Python."""
        ray = import_ray("tune.executor=ray")
        connect(ray)
        if (has := ray.cluster_resources().get("GPU", 0.0)) < self._gpus:
            log.warning("a task reserves %g GPUs, and the Ray cluster has %g: it waits for more", self._gpus, has)
        remote = ray.remote(num_cpus=self._cpus, num_gpus=self._gpus, max_retries=0)(_ray_task)
        shared = ray.put(function)  # once, whatever it carries, such as an agent's weights
        tasks = [remote.remote(shared, argument) for argument in arguments]
        asked, pending = False, tasks
        while pending:
            if stop() and not asked:
                asked = True
                for task in pending:
                    ray.cancel(task)
            _, pending = ray.wait(pending, num_returns=len(pending), timeout=POLL_SECONDS)
        return [_ray_outcome(ray, task) for task in tasks]


def make_executor(name: str, *, workers: int, cpus: float = 1.0, gpus: float = 0.0) -> Executor:
    """Make the executor named `local`, with `workers` processes, or `ray`, with `cpus` and `gpus` for each task."""
    return RayExecutor(cpus=cpus, gpus=gpus) if name == "ray" else LocalExecutor(workers)


def _ray_task(function: Task, argument: Any) -> Any:
    give_back = stopping.obey_parent(signal.SIGINT)
    try:
        return function(argument)
    finally:
        give_back()


def _child(sender: Connection, function: Task, argument: Any) -> None:
    streams.never_fail()
    logging.basicConfig(format="%(asctime)s  %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("meme57").setLevel(logging.INFO)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    stopping.obey_parent(signal.SIGTERM)
    try:
        outcome = Outcome(value=function(argument))
    except Exception as error:  # reported to the parent; nothing else reads it
        outcome = Outcome(error=one_line(error))
    sender.send(outcome)
    sender.close()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _receive(receiver: Connection, process: Any) -> Outcome:
    try:
        outcome: Outcome = receiver.recv()
    except EOFError:
        process.join()
        outcome = Outcome(error=f"its process died with exit code {process.exitcode}")
    process.join()
    receiver.close()
    return outcome


def _ray_outcome(ray: Any, task: Any) -> Outcome:
    try:
        return Outcome(value=ray.get(task))
    except Exception as error:  # Ray wraps whatever the task raised
        cause = getattr(error, "cause", None) or error
        return Outcome(error=one_line(cause))
