"""register: teacher and student become model versions; aliases follow the champion rule."""

from kedro.pipeline import Node, Pipeline

from meme57.pipelines.register import nodes


def create_pipeline() -> Pipeline:
    """Build the pipeline: scores, student and checkpoints to model_versions."""
    inputs = ["parameters", "scores", "checkpoints", "student", "run_record", "student_folder", "policy_folder"]
    return Pipeline(
        [
            Node(nodes.register_policies, inputs, "model_versions", name="register_policies"),
            Node(nodes.show_summary, ["scores", "model_versions", "report_folder"], None, name="show_summary"),
        ]
    )
