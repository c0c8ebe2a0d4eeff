"""The pipelines by name, and `__default__`: the whole flow without tuning."""

from collections.abc import Mapping

from kedro.framework.project import find_pipelines
from kedro.pipeline import Pipeline

from meme57.pipelines import FLOW

SUITE, DEFAULT = "suite", "__default__"


def register_pipelines() -> dict[str, Pipeline]:
    """Return every package of `pipelines/` by name; an import error is an error, not a missing pipeline."""
    pipelines: dict[str, Pipeline] = find_pipelines(raise_errors=True)
    pipelines[DEFAULT] = default_pipeline(pipelines)
    return pipelines


def default_pipeline(pipelines: Mapping[str, Pipeline], *, is_suite: bool = False) -> Pipeline:
    """Return what `kedro run` without `--pipelines` runs: the flow, or the suite if `suite.is_default` is set."""
    names = (SUITE,) if is_suite and SUITE in pipelines else FLOW
    return sum((pipelines[name] for name in names if name in pipelines), Pipeline([]))
