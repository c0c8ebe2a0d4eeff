"""Spread a study, and the comparison at its end, over processes of this machine or over a Ray cluster."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Callable, Sequence
from typing import Any

from meme57.actors.ray_cluster import connect, import_ray, machines
from meme57.config import Parameters
from meme57.errors import ConfigurationError, Interrupted, TuningError
from meme57.executor import Executor, make_executor
from meme57.stopping import stop_requested
from meme57.tuning.study import Place, open_study, work

log = logging.getLogger(__name__)


def run_study(parameters: Parameters, place: Place, stop: Callable[[], bool]) -> None:
    """Work on the study until its budget is spent, with `tune.workers` processes.

    Raises:
        Interrupted: a stop was requested; every open trial is back in the queue.
        RunConflictError, TuningError, AddressError: the study cannot be opened.
        ConfigurationError: its workers would be on several machines, and the study is a file of this one.
    """
    tune = parameters.tune
    if tune.executor == "ray" and tune.storage is None:
        _check_one_machine()
    open_study(parameters, place)
    if tune.workers > 1 or tune.executor == "ray":
        executor = _executor(parameters)
        for outcome in executor.run(_work, [(parameters, place)] * tune.workers, stop=stop):
            if outcome.error is not None:
                log.warning("a worker ended early: %s", outcome.error)
    work(parameters, place, stop)  # this also takes over the trials of a dead worker
    for folder in place.trials.glob("trial-*/"):
        shutil.rmtree(folder, ignore_errors=True)


def spread(
    function: Callable[[Any], Any], tasks: Sequence[Any], parameters: Parameters, stop: Callable[[], bool]
) -> list[Any]:
    """Return the function's values for all tasks; `stop` is called before each, or again and again beside them.

    Raises:
        Interrupted: a stop was requested.
        TuningError: a task failed; the message is one line.
    """
    if parameters.tune.workers == 1 and parameters.tune.executor == "local":
        values = []
        for task in tasks:
            if stop():
                raise Interrupted("stopped while comparing: the same command resumes")
            values.append(function(task))
        return values
    outcomes = _executor(parameters).run(function, tasks, stop=stop)
    if stop():
        raise Interrupted("stopped while comparing: the same command resumes")
    failed = [outcome.error for outcome in outcomes if outcome.error is not None]
    if failed:
        raise TuningError(f"a learning run of the comparison failed: {failed[0]}")
    return [outcome.value for outcome in outcomes]


def _executor(parameters: Parameters) -> Executor:
    tune, ray = parameters.tune, parameters.ray
    return make_executor(tune.executor, workers=tune.workers, cpus=ray.cpus_per_worker, gpus=ray.gpus_per_worker)


def _check_one_machine() -> None:
    ray = import_ray("tune.executor=ray")
    connect(ray)
    if (count := len(machines(ray))) > 1:
        raise ConfigurationError(
            f"the Ray cluster has {count} machines, which do not share this study's file: give tune.storage the "
            "address of a database that all of them reach"
        )


def _work(task: tuple[Parameters, Place]) -> None:
    with contextlib.suppress(Interrupted):
        work(*task, stop_requested)
