"""distill: a small single-step student of the best checkpoint."""

from kedro.pipeline import Node, Pipeline

from meme57.pipelines.distill import nodes


def create_pipeline() -> Pipeline:
    """Build the pipeline: best checkpoint to student and fidelity."""
    inputs = ["parameters", "checkpoints", "checkpoint_folder", "student_folder"]
    return Pipeline([Node(nodes.distill_student, inputs, ["student", "fidelity"], name="distill_student")])
