"""meme57 export: a run's student as one ONNX file, with its cost."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from meme57.cli.options import RunName, json_option, print_json, project_folder
from meme57.errors import Meme57Error


@click.command()
@click.argument("run", type=RunName(), metavar="RUN")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.onnx",
    help="Where to write it; by default RUN-student.onnx here.",
)
@json_option
def export(run: str, output: Path | None, as_json: bool) -> None:
    """Write a run's student as one ONNX file.

    It prints the largest difference from PyTorch on a random step, the size, the median time of a step on one CPU
    thread, and the multiply-adds beside the teacher's.
    """
    path = output or Path(f"{run}-student.onnx")
    if path.suffix != ".onnx":
        raise click.BadParameter(f"{path.name!r} does not end in .onnx.", param_hint="--output")
    facts = {"run": run, "file": str(path), **_export(run, path)}
    if as_json:
        print_json(facts)
        return
    click.echo(f"{path}  {facts['onnx_bytes']:,} bytes")
    click.echo(f"largest difference from PyTorch   {facts['onnx_difference']:.1e} (limit 1e-4)")
    click.echo(
        f"one step, one CPU thread          {facts['onnx_step_ms']:.3f} ms ({facts['torch_step_ms']:.3f} PyTorch)"
    )
    click.echo(f"multiply-adds a step              {facts['multiply_adds_student']:,}{_share(facts)}")


def _export(run: str, path: Path) -> dict[str, Any]:
    import torch

    from meme57.export.facts import export_facts
    from meme57.export.onnx import export_student
    from meme57.learning.policies import load_student
    from meme57.learning.student_record import check_folder
    from meme57.tracking.overview import known_run, run_folder

    project = project_folder()
    known_run(project, run)
    folder = run_folder(project, "models", run) / "student"
    if not (folder / "student.json").is_file():
        raise Meme57Error(f"run {run!r} has no student yet: `kedro run --pipelines distill` makes it (same options)")
    check_folder(folder)
    torch.set_num_threads(1)
    student = load_student(folder)
    export_student(student, path)
    teacher = _multiply_adds_of_teacher(run_folder(project, "reporting", run) / "fidelity.json")
    return {**asdict(export_facts(student, path)), "multiply_adds_teacher": teacher}


def _multiply_adds_of_teacher(fidelity: Path) -> float | None:
    """Read the teacher's multiply-adds; None if the file is missing or damaged, since the export works without it."""
    from meme57.files import read_json

    try:
        return float(read_json(fidelity)["multiply_adds_teacher"])
    except (Meme57Error, LookupError, TypeError, ValueError, OverflowError):
        return None


def _share(facts: dict[str, Any]) -> str:
    teacher = facts["multiply_adds_teacher"]
    return (
        f" ({100 * facts['multiply_adds_student'] / teacher:.1f} % of the teacher's {teacher:,.0f})" if teacher else ""
    )
