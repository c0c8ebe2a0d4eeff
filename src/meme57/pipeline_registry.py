"""The pipelines by name, and `__default__`: the whole flow without tuning."""

import difflib
import pkgutil
import re
from collections.abc import Iterable, Mapping

import click
from kedro.framework.project import find_pipelines
from kedro.pipeline import Pipeline

from meme57 import pipelines as packages
from meme57.pipelines import FLOW

SUITE, DEFAULT = "suite", "__default__"


def register_pipelines() -> dict[str, Pipeline]:
    """Return every package of `pipelines/` by name; each node is tagged with its pipeline.

    An import error is an error, not a missing pipeline.

    Raises:
        ClickException: a pipeline was asked for that does not exist; one line with the near name.
    """
    try:
        found: dict[str, Pipeline] = find_pipelines(raise_errors=True)
    except ImportError as error:
        asked = re.search(r"\.pipelines\.([^']*)'", str(error))
        if error.__cause__ is not None or asked is None:  # a package that exists and cannot be imported
            raise
        raise click.ClickException(no_such_pipeline(asked[1])) from None
    found = {name: pipeline.tag(name) for name, pipeline in found.items() if name != DEFAULT}
    found[DEFAULT] = default_pipeline(found)
    return found


def default_pipeline(pipelines: Mapping[str, Pipeline], *, is_suite: bool = False) -> Pipeline:
    """Return what `kedro run` without `--pipelines` runs: the flow, or the suite if `suite.is_default` is set."""
    names = (SUITE,) if is_suite and SUITE in pipelines else FLOW
    return sum((pipelines[name] for name in names if name in pipelines), Pipeline([]))


def no_such_pipeline(name: str, known: Iterable[str] | None = None) -> str:
    """Say in one line that there is no such pipeline, and which one may be meant."""
    if known is None:
        known = [DEFAULT, *(module.name for module in pkgutil.iter_modules(packages.__path__))]
    return f"--pipelines {name}: there is no such pipeline: {near_name(name, sorted(known))}"


def near_name(name: str, known: list[str]) -> str:
    """Name what may be meant by `name`, or list what there is."""
    near = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"there are {', '.join(known)}" if known else "there are none"
