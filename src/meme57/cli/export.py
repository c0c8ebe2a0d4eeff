"""meme57 export: a run's student or teacher as one ONNX file, with its cost, or the run as a capsule."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from meme57.api.find import run_policy
from meme57.cli.options import RunName, code_option, json_option, print_json, project_folder, torso_option
from meme57.errors import Meme57Error


@click.command()
@click.argument("run", type=RunName(), metavar="RUN")
@click.option(
    "--agent",
    type=click.Choice(["student", "teacher"]),
    default="student",
    show_default=True,
    help="The teacher computes its novelty inside.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.onnx",
    help="Where to write it; by default RUN-AGENT.onnx here.",
)
@click.option(
    "--capsule",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="RUN.zip",
    help="Write the whole run instead; `meme57 import` reads it.",
)
@torso_option
@code_option
@json_option
def export(
    run: str,
    agent: str,
    output: Path | None,
    capsule: Path | None,
    torso: str | None,
    code: tuple[str, ...],
    as_json: bool,
) -> None:
    """Write a run's student or teacher as one ONNX file, or the run as a capsule.

    It prints the largest difference from PyTorch, the size, the median time of a step on one CPU thread, and the
    multiply-adds. A student is compared on a random step, a teacher over an episode.

    A capsule holds configuration, lock, commit, curve, scores, card, weights, and the command that reproduces the run.
    """
    if capsule is not None:
        if output is not None:
            raise click.UsageError("--output or --capsule, not both.")
        _capsule(run, capsule, as_json)
        return
    path = output or Path(f"{run}-{agent}.onnx")
    if path.suffix != ".onnx":
        raise click.BadParameter(f"{path.name!r} does not end in .onnx.", param_hint="--output")
    project = project_folder()
    folder = run_policy(run, agent)
    facts = {"run": run, "agent": agent, "file": str(path)}
    facts |= _student(project, run, folder, path) if agent == "student" else _teacher(folder, path, torso, code)
    if as_json:
        print_json(facts)
    else:
        _report(facts, agent)


def _capsule(run: str, path: Path, as_json: bool) -> None:
    from meme57.capsules.write import write_capsule

    if path.suffix != ".zip":
        raise click.BadParameter(f"{path.name!r} does not end in .zip.", param_hint="--capsule")
    project = project_folder()
    tree = write_capsule(project, run, run_policy(run, "teacher"), path)
    if as_json:
        print_json({"file": str(path), **tree})
        return
    click.echo(f"{path}  {path.stat().st_size:,} bytes, {len(tree['files'])} files, {tree['checkpoint']}")
    click.echo(f"elsewhere     meme57 import {path.name}")
    click.echo(f"reproduce it  {tree['command']}")


def _student(project: Path, run: str, folder: Path, path: Path) -> dict[str, Any]:
    import torch

    from meme57.export.facts import export_facts
    from meme57.export.onnx import export_step
    from meme57.export.steps import step_of_student
    from meme57.learning.policies import load_student
    from meme57.learning.student_record import check_folder
    from meme57.tracking.overview import run_folder

    check_folder(folder)
    torch.set_num_threads(1)
    student = load_student(folder)
    export_step(step_of_student(student), path)
    teacher = _multiply_adds_of_teacher(run_folder(project, "reporting", run) / "fidelity.json")
    return {**asdict(export_facts(student, path)), "multiply_adds_teacher": teacher}


def _teacher(folder: Path, path: Path, torso: str | None, code: tuple[str, ...]) -> dict[str, Any]:
    import torch

    from meme57.envs import refuse_code
    from meme57.export.facts import teacher_facts
    from meme57.export.onnx import export_step
    from meme57.export.steps import step_of_teacher
    from meme57.learning.policies import Teacher

    torch.set_num_threads(1)
    teacher = Teacher.load(folder, torso=torso)
    refuse_code(teacher.env, code)  # it plays an episode to compare
    export_step(step_of_teacher(teacher), path)
    return asdict(teacher_facts(teacher, path))


def _multiply_adds_of_teacher(fidelity: Path) -> float | None:
    """Read the teacher's multiply-adds; None if the file is missing or damaged, since the export works without it."""
    from meme57.files import read_json

    try:
        return float(read_json(fidelity)["multiply_adds_teacher"])
    except (Meme57Error, LookupError, TypeError, ValueError, OverflowError):
        return None


def _report(facts: dict[str, Any], agent: str) -> None:
    click.echo(f"{facts['file']}  {facts['onnx_bytes']:,} bytes")
    if agent == "student":
        limit, work = "limit 1e-4", f"{facts['multiply_adds_student']:,}{_share(facts)}"
    else:
        limit = f"{facts['episode_steps']:,} steps of an episode, {100 * facts['same_actions']:.1f} % the same actions"
        work = f"{facts['multiply_adds_teacher']:,} and {facts['multiply_adds_novelty']:,} for novelty"
    click.echo(f"largest difference from PyTorch   {facts['onnx_difference']:.1e} ({limit})")
    click.echo(
        f"one step, one CPU thread          {facts['onnx_step_ms']:.3f} ms ({facts['torch_step_ms']:.3f} PyTorch)"
    )
    click.echo(f"multiply-adds a step              {work}")


def _share(facts: dict[str, Any]) -> str:
    teacher = facts["multiply_adds_teacher"]
    return (
        f" ({100 * facts['multiply_adds_student'] / teacher:.1f} % of the teacher's {teacher:,.0f})" if teacher else ""
    )
