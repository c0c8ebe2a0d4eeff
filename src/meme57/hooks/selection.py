"""A Kedro session that refuses unknown names of pipelines, nodes, datasets and tags in one line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.pipeline import Pipeline

from meme57.errors import ConfigurationError
from meme57.hooks.one_line import one_line_errors
from meme57.pipeline_registry import near_name, no_such_pipeline

FILTERS = {
    "tags": "--tags",
    "from_nodes": "--from-nodes",
    "to_nodes": "--to-nodes",
    "node_names": "--nodes",
    "from_inputs": "--from-inputs",
    "to_outputs": "--to-outputs",
    "namespaces": "--namespaces",
}
"""Kedro's filters of a run, and their command-line options."""


class ProjectSession(KedroSession):  # type: ignore[misc]
    """Checks names before it runs; Kedro itself would print a traceback."""

    def run(
        self, pipeline_name: str | None = None, pipeline_names: Iterable[str] | None = None, **options: Any
    ) -> dict[str, Any]:
        """Run as in Kedro, after checking the names."""
        names = [pipeline_name] if pipeline_name else list(pipeline_names or [])
        filters = {name: list(options[name]) for name in FILTERS if options.get(name)}
        with one_line_errors():
            _check_pipelines(names)
            if filters:
                pipelines.set_requested(names or None)
                self.load_context()  # the environment decides what `__default__` is
                _check_filters(sum((pipelines[name] for name in names or ["__default__"]), Pipeline([])), filters)
        found: dict[str, Any] = super().run(pipeline_name, list(pipeline_names or []) or None, **options)
        return found


def _check_pipelines(names: Iterable[str]) -> None:
    pipelines.set_requested(None)  # all of them, to suggest the nearest one
    known = sorted(pipelines.keys())
    for name in names:
        if name not in known:
            raise ConfigurationError(no_such_pipeline(name, known))


def _check_filters(pipeline: Pipeline, filters: Mapping[str, list[str]]) -> None:
    """Raise `ConfigurationError` if Kedro would find nothing to run."""
    try:
        pipeline.filter(**{"node_namespaces" if name == "namespaces" else name: filters[name] for name in filters})
    except ValueError:
        for name, asked in filters.items():
            known = _names(pipeline, name)
            for value in asked:
                if value not in known:
                    raise ConfigurationError(
                        f"{FILTERS[name]} {value}: nothing here has this name: {near_name(value, known)}"
                    ) from None
        options = " ".join(f"{FILTERS[name]} {','.join(values)}" for name, values in filters.items())
        raise ConfigurationError(f"{options}: no node matches all of these: leave one out") from None


def _names(pipeline: Pipeline, kind: str) -> list[str]:
    if kind == "tags":
        return sorted({tag for node in pipeline.nodes for tag in node.tags})
    if kind == "namespaces":
        return sorted({node.namespace for node in pipeline.nodes if node.namespace})
    if kind == "from_inputs":
        return sorted(set().union(*(node.inputs for node in pipeline.nodes)))
    if kind == "to_outputs":
        return sorted(pipeline.all_outputs())
    return [node.name for node in pipeline.nodes]
