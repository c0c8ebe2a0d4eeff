"""One parent run per run name, one child per pipeline run; explicit ids throughout."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mlflow import MlflowClient
from mlflow.entities import Param, RunTag
from mlflow.exceptions import MlflowException

from meme57.errors import TrackingError, without_passwords
from meme57.tracking.metrics import MetricsWriter, finite_numbers, metric_name
from meme57.tracking.parent_curve import ParentCurve
from meme57.tracking.process import is_alive, process_tags
from meme57.tracking.store import first_line, was_not_found
from meme57.tracking.system_metrics import SystemMetrics
from meme57.tracking.tensorboard import TensorBoardFiles

Status = Literal["FINISHED", "FAILED", "KILLED"]

PARENT = "mlflow.parentRunId"
RUN_NAME = "meme57.run_name"
FINGERPRINT = "meme57.fingerprint"
KIND = "meme57.kind"
NOTE = "meme57.note"
PAGE = "report.html"
SYSTEM = "system/"
"""What MLflow measures of the machine begins with this."""
LONGEST_VALUE = 250
LARGEST_BATCH = 100

log = logging.getLogger(__name__)


@dataclass
class ActiveRun:
    """The child run that this process has open."""

    client: MlflowClient
    experiment_id: str
    run_id: str
    parent_run_id: str
    tensorboard: TensorBoardFiles | None = None
    system_metrics: SystemMetrics | None = None
    metrics: MetricsWriter = field(init=False)
    curve: ParentCurve = field(init=False)
    checkpointed_frames: int = -1
    """Frames of the newest checkpoint; what was learned after it may be learned again."""
    parent_before: tuple[str, str] | None = None
    """Status and note of the parent before this process reopened it; None if this process made it."""
    has_page: bool = False
    """The child has the page `report.html` among its artifacts."""

    def __post_init__(self) -> None:
        self.metrics = MetricsWriter(self.client, self.run_id, also=self.mirror)
        self.curve = ParentCurve(self.client, self.parent_run_id)

    def close(self, status: Status, note: str | None = None) -> None:
        """Write the last metrics and end child and parent; a parent with another running child stays open."""
        self._close_writers()
        self.metrics.flush()
        self.curve.close()
        end_run(self.client, self.run_id, status, note)
        if not _running_children(self.client, self.experiment_id, self.parent_run_id):
            end_run(self.client, self.parent_run_id, status, note)

    def discard(self, *, keep_parent: bool) -> None:
        """Delete the child, which was refused before it did anything, and leave the parent as it was.

        A parent that this process made is deleted too, unless another child hangs under it or `keep_parent` is set.
        """
        self._close_writers()
        self.client.delete_run(self.run_id)
        others = self.client.search_runs(
            [self.experiment_id], f"tags.`{PARENT}` = '{self.parent_run_id}'", max_results=1
        )
        if self.parent_before is None and not others and not keep_parent:
            self.client.delete_run(self.parent_run_id)
        elif not _running_children(self.client, self.experiment_id, self.parent_run_id):
            status, note = self.parent_before or ("KILLED", "it was refused")
            end_run(self.client, self.parent_run_id, "KILLED" if status == "RUNNING" else status, note)  # type: ignore[arg-type]

    def has_results(self) -> bool:
        """Say whether the child has metrics (of more than this machine), models, or files of its own."""
        run = self.client.get_run(self.run_id)
        outputs = run.outputs.model_outputs if run.outputs else []
        measured = [name for name in run.data.metrics if not name.startswith(SYSTEM)]
        return bool(measured or outputs or self.client.list_artifacts(self.run_id))

    def _close_writers(self) -> None:
        for writer in (self.system_metrics, self.tensorboard):
            if writer is not None:
                writer.close()

    def mirror(self, metrics: Mapping[str, object], step: int) -> None:
        """Give the finite numbers to TensorBoard's files, if they were asked for."""
        if self.tensorboard is not None:
            named = {metric_name(name): value for name, value in finite_numbers(metrics).items()}
            self.tensorboard.add(named, step)


_active: ActiveRun | None = None


def active_run() -> ActiveRun | None:
    """Return the run that the tracking hook opened for the pipeline of this process, if any."""
    return _active


def set_active_run(run: ActiveRun | None) -> None:
    """Set the active run of all threads: Kedro saves in others with `--async`. Only the tracking hook calls this."""
    global _active
    _active = run


def open_run(
    client: MlflowClient,
    experiment_id: str,
    *,
    run_name: str,
    pipeline: str,
    parent_run_id: str | None,
    tags: Mapping[str, str],
    parameters: Mapping[str, Any],
    kind: Literal["run", "study", "suite"] = "run",
    former_fingerprint: str | None = None,
    name: str | None = None,
) -> ActiveRun:
    """Open a child, by default `<run> / <pipeline>`, under the known parent, or a new one if the store has none.

    A parent with an unknown id ("" after a run without MLflow) is also looked up by name. A study or a suite has no run
    record with its parent's id: its parent is the oldest run of its name and fingerprint. `former_fingerprint` is the
    label that an earlier version gave to the same settings.

    Raises:
        TrackingError: the store refuses.
    """
    identity = {**tags, **process_tags(), RUN_NAME: run_name}
    before: tuple[str, str] | None = None
    try:
        parent = None
        if parent_run_id is not None or kind != "run":
            parent = _find_parent(client, experiment_id, parent_run_id, identity, kind)
            if parent is None and former_fingerprint:
                former = {**identity, FINGERPRINT: former_fingerprint}
                parent = _find_parent(client, experiment_id, None, former, kind)
        if parent is None:
            parent = create_run(client, experiment_id, run_name, {**identity, KIND: kind}, parameters)
            parent = parent if kind == "run" else _only_parent(client, experiment_id, parent, identity, kind)
        else:
            known = client.get_run(parent)
            before = (str(known.info.status), known.data.tags.get(NOTE, ""))
            reopen(client, parent)
        child_tags = {**identity, KIND: "pipeline", "meme57.pipeline": pipeline, PARENT: parent}
        child = create_run(client, experiment_id, name or f"{run_name} / {pipeline}", child_tags, parameters)
    except MlflowException as error:
        raise TrackingError(f"no run can be opened in experiment {experiment_id}: {first_line(error)}") from error
    return ActiveRun(client, experiment_id, child, parent, parent_before=before)


def log_results(active: ActiveRun, results: Mapping[str, object], *, step: int) -> None:
    """Write results of the whole run to its parent, immediately."""
    writer = MetricsWriter(active.client, active.parent_run_id)
    writer.add(results, step=step)
    writer.flush()


def tag_parent(active: ActiveRun, name: str, value: str) -> None:
    """Set a tag of the whole run; if the store refuses, only warn."""
    try:
        active.client.set_tag(active.parent_run_id, name, value)
    except Exception as error:  # MLflow does not wrap the errors of its stores
        log.warning("the tag %s is not in MLflow: %s", name, first_line(error))


def log_metrics(active: ActiveRun, metrics: Mapping[str, object], *, step: int) -> None:
    """Write metrics immediately (the scores of an evaluation), not in batches."""
    if finite_numbers(metrics):
        active.metrics.add(metrics, step=step)
        active.metrics.flush()


def log_file(active: ActiveRun, path: Path) -> None:
    """Add a file to the run's artifacts; if the store refuses, only warn."""
    try:
        active.client.log_artifact(active.run_id, str(path))
        active.has_page = active.has_page or path.name == PAGE
    except Exception as error:  # MLflow does not wrap the errors of its stores
        log.warning("%s is not in MLflow: %s", path.name, first_line(error))


def close_stale_runs(
    client: MlflowClient, experiment_id: str, run_name: str, *, abandoned: str | None = None
) -> list[str]:
    """Mark the runs of `run_name` whose process has ended as KILLED, and return their ids.

    Args:
        abandoned: id of a parent whose run nobody works on: its runs have ended, on whatever machine they were.

    Raises:
        TrackingError: the store refuses.
    """
    running_ones = f"attributes.status = 'RUNNING' and tags.`{RUN_NAME}` = '{run_name}'"
    try:
        running = client.search_runs([experiment_id], running_ones, max_results=1000)
        stale = [
            run
            for run in running
            if not is_alive(run.data.tags) or (abandoned and abandoned in (run.info.run_id, run.data.tags.get(PARENT)))
        ]
        for run in stale:
            end_run(client, run.info.run_id, "KILLED", "its process ended without closing the run")
    except MlflowException as error:
        raise TrackingError(f"the runs in experiment {experiment_id} cannot be read: {first_line(error)}") from error
    if stale:
        log.info("closed %d runs of %s whose process had ended", len(stale), run_name)
    return [str(run.info.run_id) for run in stale]


def end_run(client: MlflowClient, run_id: str, status: Status, note: str | None = None) -> None:
    """Set the final status, with a note that says why."""
    if note:
        client.set_tag(run_id, NOTE, note[:LONGEST_VALUE].encode(errors="replace").decode())
    client.set_terminated(run_id, status)


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Flatten parameters to `learner.batch_size` -> text; long text continues in `<name>.1`, `.2`, ..."""
    flat: dict[str, str] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{name}.")
            continue
        text = without_passwords(str(value))
        for part, start in enumerate(range(0, max(len(text), 1), LONGEST_VALUE)):
            flat[name if part == 0 else f"{name}.{part}"] = text[start : start + LONGEST_VALUE]
    return flat


def create_run(
    client: MlflowClient, experiment_id: str, name: str, tags: Mapping[str, str], parameters: Mapping[str, Any]
) -> str:
    """Create a run with its tags and flattened parameters; return its id."""
    run_id = str(client.create_run(experiment_id, run_name=name, tags=dict(tags)).info.run_id)
    entries = [Param(metric_name(key), value) for key, value in flatten(parameters).items()]
    for start in range(0, len(entries), LARGEST_BATCH):
        client.log_batch(run_id, params=entries[start : start + LARGEST_BATCH])
    return run_id


def _find_parent(
    client: MlflowClient, experiment_id: str, known: str | None, identity: Mapping[str, str], kind: str
) -> str | None:
    """Find the known parent; else the oldest study or suite, or the newest run, of this name and fingerprint."""
    if known and _is_active(client, experiment_id, known):
        return known
    found = _parents(client, experiment_id, identity, kind)
    return (found[-1] if kind == "run" else found[0]) if found else None


def _is_active(client: MlflowClient, experiment_id: str, run_id: str) -> bool:
    """Say whether the experiment has the run, not deleted; a run of another store is unknown here."""
    try:
        info = client.get_run(run_id).info
    except MlflowException as error:
        if was_not_found(error):
            return False
        raise
    return bool(info.experiment_id == experiment_id and info.lifecycle_stage == "active")


def _parents(client: MlflowClient, experiment_id: str, identity: Mapping[str, str], kind: str) -> list[str]:
    """List the ids of matching parents, the oldest first."""
    same = f"tags.`{RUN_NAME}` = '{identity[RUN_NAME]}' and tags.`{FINGERPRINT}` = '{identity.get(FINGERPRINT, '')}'"
    runs = client.search_runs([experiment_id], f"{same} and tags.`{KIND}` = '{kind}'", max_results=1000)
    return [str(run.info.run_id) for run in sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id))]


def _only_parent(client: MlflowClient, experiment_id: str, mine: str, identity: Mapping[str, str], kind: str) -> str:
    """Keep the oldest run if several workers opened a study at once; return its id."""
    oldest = _parents(client, experiment_id, identity, kind)[0]
    if oldest != mine:
        client.delete_run(mine)
    return oldest


def reopen(client: MlflowClient, run_id: str) -> None:
    """Mark a run as running in this process."""
    client.update_run(run_id, status="RUNNING")
    client.log_batch(run_id, tags=[RunTag(key, value) for key, value in {**process_tags(), NOTE: ""}.items()])


def _running_children(client: MlflowClient, experiment_id: str, parent_run_id: str) -> list[str]:
    runs = client.search_runs([experiment_id], f"attributes.status = 'RUNNING' and tags.`{PARENT}` = '{parent_run_id}'")
    return [str(run.info.run_id) for run in runs]
