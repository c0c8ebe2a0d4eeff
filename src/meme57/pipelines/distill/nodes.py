"""Nodes of `distill`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meme57.config import Parameters, parse_parameters
from meme57.errors import Meme57Error
from meme57.stopping import stop_requested

if TYPE_CHECKING:
    from meme57.agent.student import StudentNetwork
    from meme57.learning.policies import Policy

FIDELITY_SEED = 1_700_000_001

log = logging.getLogger(__name__)


def distill_student(
    parameters: dict[str, Any], checkpoints: dict[str, Any], checkpoint_folder: Path, student_folder: Path
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train the student on the best checkpoint, export it to ONNX if possible, and measure its fidelity."""
    from meme57.checkpoints.source import checkpoint_source
    from meme57.checkpoints.store import newest_replay_index
    from meme57.learning import distillation
    from meme57.learning.policies import STUDENT_WEIGHTS
    from meme57.learning.progress import counter
    from meme57.learning.student_record import ONNX, student_checksums
    from meme57.tracking.runs import active_run, log_metrics

    settings = parse_parameters(parameters)
    best, best_frames = Path(checkpoints["best"]["folder"]), checkpoints["best"]["frames"]
    with counter("distill", "updates") as progress:
        fidelity = distillation.distill(
            settings,
            checkpoint=best,
            replay_folder=checkpoint_folder / "replay",
            replay_index=newest_replay_index(Path(checkpoints["newest"]["folder"])),
            folder=student_folder,
            stop=stop_requested,
            progress=progress,
        )
    fidelity |= _returns(settings, best, student_folder)
    fidelity |= _costs(best, student_folder, torso=settings.network.torso)
    if (active := active_run()) is not None:
        log_metrics(active, {f"fidelity/{name}": value for name, value in fidelity.items()}, step=best_frames)
    source, files, exported = checkpoint_source(best), student_checksums(student_folder), "onnx_bytes" in fidelity
    record = {
        "source": source,
        "weights_sha256": files[STUDENT_WEIGHTS],
        "files": files,
        "onnx": ONNX if exported else None,
        "bytes": int(fidelity["onnx_bytes"]) if exported else None,
    }
    return record, {**fidelity, "source": source, "student_sha256": files[STUDENT_WEIGHTS]}


def _returns(settings: Parameters, teacher_folder: Path, student_folder: Path) -> dict[str, float]:
    """Measure the mean returns of teacher and student on the same seeds, playing as in scored games."""
    from meme57.blueprint import find_device
    from meme57.envs import env_spec
    from meme57.evaluation.protocol import mean_return
    from meme57.evaluation.ranking import shortened
    from meme57.learning.policies import StudentPolicy, Teacher, load_student
    from meme57.learning.progress import counter

    spec, num_envs = shortened(env_spec(settings.env)), settings.distill.num_envs
    teacher = Teacher.load(teacher_folder, torso=settings.network.torso).to(find_device())
    student = load_student(student_folder)
    makers: dict[str, Callable[[int], Policy]] = {
        "teacher": partial(teacher.player, temperature=settings.evaluate.temperature),
        "student": partial(StudentPolicy, student),
    }
    returns = {}
    for agent, make_policy in makers.items():
        with counter(f"compare {agent}", "episodes") as progress:
            returns[f"return_{agent}"] = mean_return(
                make_policy, spec, episodes=num_envs, num_envs=num_envs, seed=FIDELITY_SEED,
                stop=stop_requested, progress=progress,
            )  # fmt: skip
    return returns


def _costs(teacher_folder: Path, student_folder: Path, *, torso: str) -> dict[str, float]:
    """Measure the costs of student and teacher."""
    from meme57.export.facts import teacher_multiply_adds
    from meme57.learning.policies import Teacher, load_student
    from meme57.learning.student_record import ONNX

    facts = _export(load_student(student_folder), student_folder / ONNX)
    network, novelty = teacher_multiply_adds(Teacher.load(teacher_folder, torso=torso))
    return {
        **facts,
        "multiply_adds_teacher": float(network),
        "multiply_adds_novelty": float(novelty),
        "multiply_adds_ratio": facts["multiply_adds_student"] / network,
    }


def _export(student: StudentNetwork, path: Path) -> dict[str, float]:
    """Write and measure the ONNX file; a failure is only a warning, since the student works without it."""
    from meme57.export.facts import StudentFacts, export_facts, student_facts
    from meme57.export.onnx import export_step
    from meme57.export.steps import step_of_student

    facts: StudentFacts
    try:
        export_step(step_of_student(student), path)
        facts = export_facts(student, path)
    except Meme57Error as error:
        log.warning("%s", error)
        path.unlink(missing_ok=True)  # it would be an earlier student's
        facts = student_facts(student)
    return {name: float(value) for name, value in asdict(facts).items()}
