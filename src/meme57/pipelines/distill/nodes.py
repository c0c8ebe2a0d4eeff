"""Nodes of `distill`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from meme57.config import parse_parameters
from meme57.stopping import stop_requested

FIDELITY_SEED = 1_700_000_001


def distill_student(
    parameters: dict[str, Any], checkpoints: dict[str, Any], checkpoint_folder: Path, student_folder: Path
) -> tuple[dict[str, Any], dict[str, float]]:
    """Trains the student on the best checkpoint, exports it to ONNX, and says how faithful it is."""
    from meme57.envs import env_spec
    from meme57.evaluation.protocol import mean_return
    from meme57.export.onnx import export_student
    from meme57.learning import distillation
    from meme57.learning.checkpoints import newest_replay_index
    from meme57.learning.policies import Policy, load_student
    from meme57.learning.progress import counter
    from meme57.tracking.runs import active_run, log_metrics

    chosen = parse_parameters(parameters)
    spec, num_envs = env_spec(chosen.env), chosen.distill.num_envs

    def evaluate(policy: Policy) -> float:
        return mean_return(lambda _: policy, spec, episodes=num_envs, num_envs=num_envs, seed=FIDELITY_SEED)

    best, best_frames = Path(checkpoints["best"]["folder"]), checkpoints["best"]["frames"]
    with counter("distill", "updates") as progress:
        fidelity = distillation.distill(
            chosen,
            checkpoint=best,
            replay_folder=checkpoint_folder / "replay",
            replay_index=newest_replay_index(Path(checkpoints["newest"]["folder"])),
            folder=student_folder,
            evaluate=evaluate,
            stop=stop_requested,
            progress=progress,
        )
    onnx_path = student_folder / "student.onnx"
    fidelity["onnx_difference"] = export_student(load_student(student_folder), onnx_path)
    if (active := active_run()) is not None:
        log_metrics(active, {f"fidelity/{name}": value for name, value in fidelity.items()}, step=best_frames)
    record = {
        "teacher": best.name,
        "onnx": onnx_path.name,
        "bytes": onnx_path.stat().st_size,
    }
    return record, fidelity
