"""Record a pipeline run in MLflow, and turn signals and errors into statuses.

Kedro calls no node hook for a generator node after its first yield, so this uses pipeline hooks.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol, MemoryDataset
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from meme57 import __version__, stopping
from meme57.config import Parameters
from meme57.errors import Interrupted, RefusalError, TrackingError, own_error, without_passwords
from meme57.hooks.configuration import load_optional
from meme57.hooks.one_line import OneLineError, one_line_errors
from meme57.hooks.parameters import GIVEN, ParametersHook
from meme57.pipelines.words import node_line
from meme57.tracking.run_record import RunRecord, TrackingRun
from meme57.tracking.settings import setting

if TYPE_CHECKING:
    from meme57.tracking.runs import ActiveRun

LEARNING_NODES = ("learn", "run_study", "run_members")
PACKAGES = ("meme57", "torch", "ale-py", "kedro", "mlflow")

log = logging.getLogger(__name__)


class TrackingHook:
    """Opens a child run before the pipeline and closes it afterwards, with or without an error."""

    def __init__(self, parameters: ParametersHook) -> None:
        self._checked = parameters
        self._settings: dict[str, Any] = {}
        self._restore: Callable[[], None] = lambda: None
        self._active: ActiveRun | None = None
        self._outer: ActiveRun | None = None
        """The active run of the pipeline whose node runs this pipeline."""
        self._num_nodes = self._begun = 0

    @hook_impl  # type: ignore[untyped-decorator]
    def after_context_created(self, context: KedroContext) -> None:
        """Read `conf/base/mlflow.yml`."""
        with one_line_errors():
            self._settings = load_optional(context.config_loader, "mlflow")

    @hook_impl  # type: ignore[untyped-decorator]
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Say on what it learns, open the run, give its ids to nodes, and handle the signals that ask to stop."""
        from meme57.tracking.runs import active_run, set_active_run

        self._num_nodes, self._begun = len(pipeline.nodes), 0
        try:
            with one_line_errors():
                if any(node.name in LEARNING_NODES for node in pipeline.nodes):
                    _say_device()
                active, given = self._open_or_go_without(run_params)
        except BaseException:  # Kedro calls no other hook in this case
            self._checked.end_work()
            raise
        self._active, self._outer = active, active_run()
        set_active_run(active)
        catalog[GIVEN] = MemoryDataset(dict(given))
        close = (lambda: None) if active is None else lambda: active.close("KILLED", "stopped by a second signal")
        self._restore = stopping.install_handlers(close)

    @hook_impl  # type: ignore[untyped-decorator]
    def before_node_run(self, node: Node) -> None:
        """Log which node runs, or stop between two nodes."""
        if stopping.stop_requested():
            raise Interrupted(f"stopped before {node.name}: {self._checked.parameters.same_command} resumes from there")
        self._begun += 1
        log.info("%s", node_line(node.name, self._begun, self._num_nodes, self._estimate(node)))

    @hook_impl  # type: ignore[untyped-decorator]
    def after_pipeline_run(self) -> None:
        """Mark the run FINISHED."""
        self._close("FINISHED")

    @hook_impl(trylast=True)  # type: ignore[untyped-decorator]
    def on_pipeline_error(self, error: Exception) -> None:
        """Mark the run KILLED after a polite stop, else FAILED; an error of this package becomes one line."""
        own = own_error(error)
        killed = isinstance(own, Interrupted)
        words = str(own or f"{type(error).__name__}: {error}")
        traceback.clear_frames(error.__traceback__)  # ends a node that waits for its outputs to be saved
        self._close("KILLED" if killed else "FAILED", words, is_refusal=isinstance(own, RefusalError))
        if own is not None:
            raise OneLineError(own) from error

    def _estimate(self, node: Node) -> str | None:
        """Estimate how long a node takes, if runs of the same settings were measured here."""
        if node.name != "learn":
            return None
        from meme57.tracking.duration import in_words, learning_seconds

        seconds = learning_seconds(self._checked.project_path, self._checked.parameters)
        return None if seconds is None else in_words(seconds)

    def _describe(self, active: ActiveRun) -> None:
        """Write the parent's description, with a link to its page."""
        from meme57.tracking import results

        try:
            link = results.page_link(active.experiment_id, active.run_id) if active.has_page else None
            before = active.client.get_run(active.parent_run_id).data.tags.get(results.DESCRIPTION, "")
            link = link or results.known_link(before)
            text = results.describe(self._checked.project_path, self._checked.kind, self._checked.name, link)
            active.client.set_tag(active.parent_run_id, results.DESCRIPTION, text)
        except Exception as error:  # a store that fails is no reason to leave the run open
            log.warning("the MLflow run has no new description: %s", error)

    def _open_or_go_without(self, run_params: dict[str, Any]) -> tuple[ActiveRun | None, TrackingRun]:
        """Open the run, or continue without MLflow if its database cannot be used."""
        from meme57.tracking.store import is_unusable

        try:
            return self._open(run_params)
        except TrackingError as error:
            if not is_unusable(error):
                raise
            log.warning("%s; MLflow does not follow this run", error)
        record = self._checked.record()
        return None, TrackingRun(
            run_id="",
            parent_run_id=record["mlflow_run_id"] if record else "",
            experiment_id="",
            tracking_uri="",
            created=record["created"] if record else datetime.now(UTC).isoformat(timespec="seconds"),
            commit=self._commit(record, code_version(self._checked.project_path)),
        )

    def _open(self, run_params: dict[str, Any]) -> tuple[ActiveRun, TrackingRun]:
        from meme57.tracking import runs
        from meme57.tracking.overview import run_folder
        from meme57.tracking.store import create_store_or_local, experiment_id
        from meme57.tracking.system_metrics import SystemMetrics
        from meme57.tracking.tensorboard import TensorBoardFiles

        parameters, project = self._checked.parameters, self._checked.project_path
        store = create_store_or_local(project, setting(self._settings, "server", "mlflow_tracking_uri"))
        name = setting(self._settings, "tracking", "experiment", "name") or parameters.tracking.experiment
        experiment = experiment_id(store, name)
        client = store.client()
        record = self._checked.record()
        abandoned = record["mlflow_run_id"] if record and self._checked.is_alone else None
        runs.close_stale_runs(client, experiment, self._checked.name, abandoned=abandoned)
        commit = code_version(project)
        tensorboard = None
        if parameters.tracking.tensorboard:
            tensorboard = TensorBoardFiles(run_folder(project, "reporting", self._checked.name) / "tensorboard")
        active = runs.open_run(
            client,
            experiment,
            run_name=self._checked.name,
            kind=self._checked.kind,
            pipeline=_pipeline_name(run_params),
            name=setting(self._settings, "tracking", "run", "name"),
            parent_run_id=record["mlflow_run_id"] if record else None,
            tags=self._tags(commit),
            former_fingerprint=self._former_fingerprint(),
            parameters=parameters.model_dump(mode="json", by_alias=True),
        )
        active.tensorboard = tensorboard
        if parameters.tracking.system_metrics:
            active.system_metrics = SystemMetrics(active.run_id, tracking_uri=store.uri)
        return active, TrackingRun(
            run_id=active.run_id,
            parent_run_id=active.parent_run_id,
            experiment_id=experiment,
            tracking_uri=store.uri,
            created=record["created"] if record else datetime.now(UTC).isoformat(timespec="seconds"),
            commit=self._commit(record, commit),
        )

    def _commit(self, record: RunRecord | None, now: str) -> str:
        """Return the commit that the record names, once there are weights: a later `setup` trained none of them."""
        from meme57.checkpoints.store import newest_frames
        from meme57.tracking.overview import run_folder

        checkpoints = run_folder(self._checked.project_path, "models", self._checked.name) / "checkpoints"
        return record["commit"] if record and newest_frames(checkpoints) else now

    def _former_fingerprint(self) -> str:
        """Compute the label under which commit fd8d2c1 opened the same run, study or suite."""
        from meme57.config.identity import former_fingerprint
        from meme57.config.members import former_suite_fingerprint
        from meme57.tuning.identity import former_study_fingerprint

        former = {"study": former_study_fingerprint, "suite": former_suite_fingerprint, "run": former_fingerprint}
        return former[self._checked.kind](self._checked.parameters)

    def _tags(self, commit: str) -> dict[str, str]:
        from meme57.config.members import suite_fingerprint
        from meme57.tuning.identity import study_fingerprint

        parameters = self._checked.parameters
        fingerprints = {"study": study_fingerprint, "suite": suite_fingerprint, "run": Parameters.fingerprint}
        return {
            "meme57.fingerprint": fingerprints[self._checked.kind](parameters),
            "meme57.game": parameters.env.game,
            "meme57.protocol": parameters.evaluate.protocol,
            "meme57.seed": str(parameters.run.seed),
            "meme57.env": self._checked.environment,
            "mlflow.source.name": without_passwords(" ".join([Path(sys.argv[0]).name, *sys.argv[1:]])),
            "mlflow.source.git.commit": commit,
            "meme57.versions": ", ".join([f"python {sys.version.split()[0]}", *map(_version, PACKAGES)]),
        }

    def _close(self, status: Any, note: str | None = None, *, is_refusal: bool = False) -> None:
        from meme57.tracking.runs import set_active_run

        active, self._active = self._active, None
        set_active_run(self._outer)
        try:
            if active is not None and is_refusal and not active.has_results():
                active.discard(keep_parent=self._checked.record() is not None)
            elif active is not None:
                self._describe(active)
                active.close(status, note)
        except Exception as error:  # a failing store must not hide the pipeline's own error
            log.warning("the MLflow run of this pipeline stays open: %s", error)
        finally:
            self._restore()  # not earlier: a terminal that closes may send SIGHUP twice
            self._checked.end_work()


def _say_device() -> None:
    from meme57.learning.device import describe_device

    log.info("learns on: %s", describe_device())


def code_version(project_path: Path) -> str:
    """Return which code runs.

    In a checkout it is the short commit, with `-dirty` if files differ from it. Elsewhere it is `v` and the version of
    meme57; the commit of the project's own repository follows a `+`, if it has one.
    """
    commit = _git_commit(project_path)
    is_checkout = Path(__file__).resolve().is_relative_to(project_path.resolve() / "src")
    if is_checkout and commit:
        return commit
    return f"v{__version__}+{commit}" if commit else f"v{__version__}"


def _git_commit(folder: Path) -> str:
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        found = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip()


def _pipeline_name(run_params: dict[str, Any]) -> str:
    names = run_params.get("pipeline_names") or ["__default__"]
    return "+".join(sorted(name.strip("_") for name in names))


def _version(package: str) -> str:
    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return f"no {package}"
