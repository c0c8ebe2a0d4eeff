"""Check the parameters, the run's identity and the inputs before anything runs."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import Any, Literal

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import CatalogProtocol, MemoryDataset
from kedro.pipeline import Pipeline

from meme57.config import Parameters, load_parameters
from meme57.errors import RunConflictError
from meme57.hooks.configuration import rich_on_terminal
from meme57.hooks.one_line import one_line_errors
from meme57.pipeline_registry import DEFAULT, default_pipeline
from meme57.tracking.run_record import (
    RunRecord,
    at_work,
    check_identity,
    read_record,
    refuse_live_run,
    refuse_lookalike,
    refuse_second_writer,
    remove_run,
)

RECORD = "run_record"
STUDY = "study_record"
SUITE = "suite_record"
GIVEN = "tracking_run"
PLACE = "place"
GROWING = {"seed_replay", "checkpoints"}
"""Outputs that only one process at a time may write."""

Kind = Literal["run", "study", "suite"]

log = logging.getLogger(__name__)


class ParametersHook:
    """Holds the validated parameters and the run record of the session; runs before every other hook."""

    def __init__(self) -> None:
        self.project_path = Path()
        self.environment = ""
        self._chain: list[str] = []
        self._parameters: Parameters | None = None
        self._made_by: dict[str, str] = {}
        self._optional: set[str] = set()
        self._at_work = contextlib.ExitStack()
        self.is_alone = False
        """Whether nobody else worked on the run when the pipeline began."""
        self.kind: Kind = "run"
        """What the pipeline works on; `tune` and `suite` have identities of their own."""

    @property
    def parameters(self) -> Parameters:
        """The validated tree; it exists once there is a Kedro context."""
        assert self._parameters is not None, "no Kedro context yet"
        return self._parameters

    @property
    def name(self) -> str:
        """The name of this run, study or suite in MLflow."""
        names = {"study": f"tune-{self.parameters.study_name}", "suite": f"suite-{self.parameters.suite_name}"}
        return names.get(self.kind, self.parameters.run_name)

    def record(self) -> RunRecord | None:
        """Read the record of this run from disk; a study or a suite has none."""
        if self.kind != "run":
            return None
        return read_record(self.project_path, self.parameters.run_name)

    @hook_impl(tryfirst=True)  # type: ignore[untyped-decorator]
    def after_context_created(self, context: KedroContext) -> None:
        """Validate the whole tree and give it, with all defaults, to Kedro as `parameters`."""
        rich_on_terminal()
        with one_line_errors():
            parameters = _with_absolute_storage(load_parameters(context.config_loader), context.project_path)
        self.project_path = context.project_path
        self._chain = list(context.config_loader.chain)
        self.environment = self._chain[-1]
        self._parameters = parameters
        context.config_loader["parameters"] = parameters.model_dump(mode="json", by_alias=True)
        # `session.run()` reads Kedro's only registry right after it makes its context, so the newest context decides.
        pipelines[DEFAULT] = default_pipeline(dict(pipelines), is_suite=parameters.suite.is_default)

    @hook_impl  # type: ignore[untyped-decorator]
    def after_catalog_created(self, conf_catalog: dict[str, Any]) -> None:
        """Note which pipeline makes which dataset (`metadata.made_by` in the catalog)."""
        entries = {name: entry.get("metadata") or {} for name, entry in conf_catalog.items()}
        self._made_by = {name: metadata["made_by"] for name, metadata in entries.items() if "made_by" in metadata}
        self._optional = {name for name, entry in conf_catalog.items() if entry.get("optional")}

    @hook_impl(tryfirst=True)  # type: ignore[untyped-decorator]
    def before_pipeline_run(self, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Refuse a run that would overwrite another one, or lacks the output of an earlier pipeline."""
        outputs = pipeline.all_outputs()
        self.kind = "study" if STUDY in outputs else "suite" if SUITE in outputs else "run"
        with one_line_errors():
            refuse_lookalike(self.project_path, self.name)
            if self.kind == "run":
                record = self._check_run(pipeline)
            else:
                self._check_alone(pipeline)
                self._check_what_it_runs()
            self._check_inputs(pipeline, catalog)
            if self.kind == "run":
                self.is_alone = self._is_alone()
                self._begin_work(record)
        place = {"project": str(self.project_path), "environment": self.environment, "chain": self._chain}
        catalog[PLACE] = MemoryDataset(place)

    def _is_alone(self) -> bool:
        try:
            refuse_live_run(self.project_path, self.parameters.run_name)
        except (RunConflictError, OSError):  # somebody's, or not ours to open
            return False
        return True

    def end_work(self) -> None:
        """Allow the run to be removed again; called when its pipeline has ended, with or without an error."""
        self._at_work.close()

    def _begin_work(self, checked: RunRecord | None) -> None:
        self._at_work.enter_context(at_work(self.project_path, self.parameters.run_name))
        if _parent(self.record()) != _parent(checked):
            self.end_work()
            raise RunConflictError(f"run {self.name!r} was removed or restarted just now: type the command again")

    def _check_run(self, pipeline: Pipeline) -> RunRecord | None:
        name = self.parameters.run_name
        sets_up = RECORD in pipeline.all_outputs()
        if GROWING & pipeline.all_outputs():
            refuse_second_writer(self.project_path, name)
        if self.parameters.run.fresh:
            if not sets_up:
                raise RunConflictError(
                    "run.fresh=true removes the run, so it needs `setup`: "
                    "`kedro run --params run.fresh=true`, or leave run.fresh out"
                )
            if early := sorted(name for name in pipeline.inputs() if name in self._made_by):
                makers = ",".join(dict.fromkeys(self._made_by[name] for name in early))
                raise RunConflictError(
                    f"run.fresh=true removes {early[0]} of run {name!r}, which these pipelines read, so nothing was "
                    f"removed: add {makers} to --pipelines, or leave run.fresh out"
                )
            removed = remove_run(self.project_path, name)
            log.info("run.fresh: removed %d folders of run %s", len(removed), name)
        record = self.record()
        if record is not None:
            check_identity(record, self.parameters)
        elif not sets_up and _needs_earlier_work(pipeline):
            raise RunConflictError(f"run {name!r} is not set up: `kedro run --pipelines setup` first (same options)")
        return record

    def _check_alone(self, pipeline: Pipeline) -> None:
        mine = {"study": "tune", "suite": "suite"}[self.kind]
        others = {self._made_by[name] for name in pipeline.all_outputs() if name in self._made_by} - {mine}
        if others:
            raise RunConflictError(
                f"`{mine}` runs alone, not with {', '.join(sorted(others))}: `kedro run --pipelines {mine}`"
            )

    def _check_what_it_runs(self) -> None:
        if self.kind == "suite":
            from meme57.config.members import check_suite
            from meme57.evaluation.published import published_agent

            check_suite(self.parameters)
            for agent in self.parameters.suite.compare:
                published_agent(agent)
        else:
            from meme57.tuning.checks import check_study

            check_study(self.parameters)

    def _check_inputs(self, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        for name in sorted(pipeline.inputs()):
            if name in self._made_by and name not in self._optional and not catalog.exists(name):
                maker = self._made_by[name]
                raise RunConflictError(
                    f"{name} of run {self.parameters.run_name!r} is missing: `kedro run --pipelines {maker}` makes it"
                )


def _parent(record: RunRecord | None) -> str | None:
    return None if record is None else record["mlflow_run_id"]


def _with_absolute_storage(parameters: Parameters, project: Path) -> Parameters:
    """Make a SQLite path in `tune.storage` absolute; it is relative to the project's root."""
    if parameters.tune.storage is None:
        return parameters
    from meme57.addresses import absolute_address

    tune = parameters.tune.model_copy(update={"storage": absolute_address(parameters.tune.storage, project)})
    return parameters.model_copy(update={"tune": tune})


def _needs_earlier_work(pipeline: Pipeline) -> bool:
    """Say whether the pipeline reads more than parameters; `setup` does not."""
    return any(not name.startswith("param") and name not in (GIVEN, PLACE) for name in pipeline.inputs())
