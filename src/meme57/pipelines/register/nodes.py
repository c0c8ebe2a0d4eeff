"""Nodes of `register`."""

from __future__ import annotations

import math
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meme57.config import Parameters, parse_parameters, rom_id
from meme57.errors import RunConflictError, TrackingError

if TYPE_CHECKING:
    from meme57.tracking.promotion import PolicyScore

UNKNOWN = (-math.inf, math.inf)
"""Stands for the interval of a single value, which has none."""


def register_policies(
    parameters: dict[str, Any],
    scores: dict[str, Any],
    checkpoints: dict[str, Any],
    student: dict[str, Any],
    run_record: dict[str, Any],
    student_folder: Path,
    policy_folder: Path,
) -> dict[str, Any]:
    """Register a model version of the teacher and one of the student, with score and lineage as tags.

    Raises:
        RunConflictError: there is no student.
        CheckpointError: a file of the checkpoint or the student was changed, or the inputs do not belong together.
    """
    from meme57.checkpoints.source import checkpoint_source
    from meme57.checkpoints.store import newest_replay_index
    from meme57.evaluation.scores import check_scores
    from meme57.learning.student_record import check_student
    from meme57.replay.snapshot import replay_version

    settings = parse_parameters(parameters)
    if not student:
        raise RunConflictError(
            f"student of run {settings.run_name!r} is missing: `kedro run --pipelines distill,evaluate` makes it and "
            "its score"
        )
    best = checkpoints["best"]
    source = checkpoint_source(Path(best["folder"]))
    check_student(student, student_folder, source)
    check_scores(scores, run_name=settings.run_name, source=source, student_sha256=student["weights_sha256"])
    temperature = _temperature(scores)
    data = {
        "teacher": _copy_teacher(Path(best["folder"]), policy_folder, settings.network.torso, temperature),
        "student": _copy_student(student_folder, policy_folder, temperature),
    }
    tags = {
        "meme57.run": settings.run_name,
        "meme57.frames": str(best["frames"]),
        "meme57.commit": run_record["commit"],
        "meme57.protocol": _protocol(scores),
    }
    lineage = {
        "seed": str(settings.run.seed),
        "fingerprint": run_record["fingerprint"],
        "checkpoint": source["checkpoint"],
        "checkpoint_sha256": source["sha256"],
        "data": replay_version(newest_replay_index(Path(checkpoints["newest"]["folder"]))),
    }
    return {
        agent: _register(agent, folder, policy_folder, scores, tags, lineage, settings)
        for agent, folder in data.items()
    }


def _temperature(scores: dict[str, Any]) -> float:
    return float(scores["protocol"].get("temperature", 0.0))  # scores from before it could be chosen are greedy


def _actions(temperature: float) -> dict[str, str]:
    """Return the card's row about a policy that was scored with drawn actions; the served file never draws."""
    if temperature == 0.0:
        return {}
    return {"actions": f"the score is of actions drawn at temperature {temperature:g}; served here are the best ones"}


def _protocol(scores: dict[str, Any]) -> str:
    """Name the protocol shortly, with an asterisk where the result departs from it; older scores name none."""
    from meme57.evaluation.protocols import protocol_label

    protocol = scores["protocol"]
    return protocol_label(protocol["protocol"], protocol["departures"]) if "protocol" in protocol else protocol["name"]


def _register(
    agent: str,
    data: Path,
    policy_folder: Path,
    scores: dict[str, Any],
    tags: dict[str, str],
    lineage: dict[str, str],
    settings: Parameters,
) -> dict[str, Any]:
    from meme57.export.card import about_model, model_card
    from meme57.export.travelling import serve_policy
    from meme57.tracking.pyfunc import save_policy_model
    from meme57.tracking.registry import model_name, register_policy
    from meme57.tracking.runs import active_run

    active = active_run()
    if active is None:
        raise TrackingError(
            "no MLflow run is open, so nothing is registered: mend the store, then `kedro run --pipelines register`"
        )
    score, game = _policy_score(agent, scores), settings.env.game
    name = model_name(rom_id(game), student=agent == "student")
    served = serve_policy(data, torso=settings.network.torso)
    target = policy_folder / f"model-{agent}"
    shutil.rmtree(target, ignore_errors=True)
    facts = {
        "mean return": f"{score.mean:,.4g} ({score.episodes} episodes)",
        **_actions(_temperature(scores)),
        **{key.removeprefix("meme57."): value for key, value in tags.items()},
        "whole protocol": score.protocol,
        **{key.replace("_", " "): value for key, value in lineage.items()},
    }
    save_policy_model(
        target,
        data_path=data,
        loader_module=served.loader_module,
        inputs=served.first_step,
        outputs=served.answer,
        pip_requirements=served.requirements,
        code=served.code,
        growing=("memory",),
        card=model_card(name, f"the {agent} of run {tags['meme57.run']}", game, facts, served),
        metadata={"agent": agent, "game": game},
    )
    registration = register_policy(
        active.client,
        name=name,
        folder=target,
        run_id=active.run_id,
        score=score,
        margin=settings.register_.margin,
        tags=tags,
        lineage=lineage,
        about=about_model(name, agent, game),
    )
    return asdict(registration)


def _policy_score(agent: str, scores: dict[str, Any]) -> PolicyScore:
    from meme57.tracking.promotion import PolicyScore

    summary, random = scores["agents"][agent], scores["agents"]["random"]
    low, high = summary["interval"] or UNKNOWN
    return PolicyScore(
        mean=summary["mean"],
        std=summary["std"],
        low=low,
        high=high,
        episodes=summary["episodes"],
        protocol=scores["protocol"]["name"],
        random_mean=random["mean"],
        random_std=random["std"],
        random_episodes=random["episodes"],
        cut_short=summary.get("cut_short", 0),
    )


def _copy_teacher(checkpoint: Path, policy_folder: Path, torso: str, temperature: float) -> Path:
    """Copy the weights that acting needs, without optimiser and replay, and export their ONNX file.

    The copy draws its actions at the temperature at which it was scored.
    """
    from meme57.checkpoints.manifest import AGENT
    from meme57.export.travelling import export_teacher
    from meme57.learning.policies import TEACHER_FILES

    target = policy_folder / "teacher"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in TEACHER_FILES:
        shutil.copy2(checkpoint / name, target / name)
    _set_temperature(target / AGENT, temperature)
    export_teacher(target, torso=torso)
    return target


def _copy_student(student_folder: Path, policy_folder: Path, temperature: float) -> Path:
    """Copy the student without its record: that names the checkpoint's time, and equal students are one version."""
    from meme57.learning.policies import STUDENT_SPEC
    from meme57.learning.student_record import FILES

    target = policy_folder / "student"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in FILES:
        if (student_folder / name).is_file():
            shutil.copy2(student_folder / name, target / name)
    _set_temperature(target / STUDENT_SPEC, temperature)
    return target


def _set_temperature(path: Path, temperature: float) -> None:
    from meme57.files import read_json, write_json

    tree = read_json(path)
    if tree.get("temperature", 0.0) != temperature:
        write_json(path, {**tree, "temperature": temperature})


def show_summary(scores: dict[str, Any], model_versions: dict[str, Any], report_folder: Path) -> None:
    """Print the final table of the run, and what to open next."""
    from meme57.report.summary import print_summary

    print_summary(scores, model_versions, report=report_folder / "report.html")
