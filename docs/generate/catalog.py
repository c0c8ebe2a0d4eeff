"""What each pipeline reads and writes, from the Kedro pipelines and the catalog."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kedro.framework.project import configure_project
from kedro.framework.project import pipelines as registered
from kedro.pipeline import Pipeline

from meme57.hooks.configuration import ProjectConfigLoader
from meme57.pipeline_registry import FLOW
from meme57.settings import CONFIG_LOADER_ARGS

GIVEN = {"parameters": "the typed parameters"}
"""Inputs that no pipeline makes and no file holds."""
NAMES = {"run": ("name", "run"), "tune": ("study", "study"), "suite": ("name", "suite")}
"""Group -> its parameter that is in paths, and the word for it on the pages."""
FROM_A_HOOK = "given by a hook as the pipeline starts"


@dataclass(frozen=True)
class Row:
    """One box of a diagram with its inputs and outputs."""

    inputs: tuple[str, ...]
    title: str
    outputs: tuple[str, ...]


def pipelines() -> dict[str, Pipeline]:
    """Return the flow's pipelines in order, then the others."""
    configure_project("meme57")
    registered.set_requested(None)
    others = sorted(set(registered) - {*FLOW, "__default__"})
    return {name: registered[name] for name in (*FLOW, *others)}


def entries(root: Path) -> dict[str, dict[str, Any]]:
    """Load the catalog with `<run>`, `<study>` and `<suite>` in place of names."""
    loaded = ProjectConfigLoader(str(root / "conf"), env="base", **CONFIG_LOADER_ARGS)
    names = {group: {field: f"name-of-{word}"} for group, (field, word) in NAMES.items()}
    loaded["parameters"] = {**loaded["parameters"], **names}
    plain = {name: entry for name, entry in loaded["catalog"].items() if not name.startswith("_")}
    for entry in plain.values():
        for _, word in NAMES.values():
            entry["filepath"] = entry["filepath"].replace(f"name-of-{word}", f"<{word}>")
    return plain


def node_rows(pipeline: Pipeline) -> list[Row]:
    """Make one row per node, in the order in which they run."""
    return [Row(tuple(node.inputs), node.name, tuple(node.outputs)) for node in pipeline.nodes]


def pipeline_rows(found: dict[str, Pipeline], catalog: dict[str, dict[str, Any]]) -> list[Row]:
    """Make one row per pipeline of the flow, without parameters and folders."""
    rows = []
    for name in FLOW:
        inputs = [entry for entry in sorted(found[name].inputs()) if _made_by(catalog, entry) not in (None, name)]
        rows.append(Row(tuple(inputs), name, tuple(sorted(found[name].all_outputs()))))
    return rows


def table(pipeline: Pipeline, catalog: dict[str, dict[str, Any]]) -> str:
    """Tabulate name, direction, path and maker of all inputs and outputs of the pipeline."""
    outputs = pipeline.all_outputs()
    lines = ["| catalog name | | file or folder | made by |", "|---|---|---|---|"]
    for name in (*sorted(pipeline.inputs()), *sorted(outputs)):
        way = "folder it works in" if name.endswith("_folder") else "out" if name in outputs else "in"
        entry = catalog.get(name)
        where = f"`{entry['filepath']}`" if entry else GIVEN.get(name, FROM_A_HOOK)
        lines.append(f"| `{name}` | {way} | {where} | {_maker(catalog, name)} |")
    return "\n".join([*lines, ""])


def _made_by(catalog: dict[str, dict[str, Any]], name: str) -> str | None:
    maker = (catalog.get(name, {}).get("metadata") or {}).get("made_by")
    return str(maker) if maker else None


def _maker(catalog: dict[str, dict[str, Any]], name: str) -> str:
    maker = _made_by(catalog, name)
    return f"[{maker}]({maker}.md)" if maker else ""
