"""The pipelines: one each, and `__default__`, which is the whole flow but for tuning."""

from kedro.framework.project import find_pipelines
from kedro.pipeline import Pipeline

FLOW = ("setup", "collect", "learn", "distill", "evaluate", "report", "register")


def register_pipelines() -> dict[str, Pipeline]:
    """Every package of `pipelines/` by its name; an import error is an error, not a missing pipeline."""
    pipelines: dict[str, Pipeline] = find_pipelines(raise_errors=True)
    pipelines["__default__"] = sum((pipelines[name] for name in FLOW if name in pipelines), Pipeline([]))
    return pipelines
