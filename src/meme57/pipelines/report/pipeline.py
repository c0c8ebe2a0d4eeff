"""report: one HTML page, and the plots for Kedro-Viz and MLflow."""

from kedro.pipeline import Node, Pipeline

from meme57.pipelines.report import nodes


def create_pipeline() -> Pipeline:
    """Build the pipeline: scores and learning_curve to plots and report."""
    return Pipeline(
        [
            Node(
                nodes.make_plots,
                ["learning_curve", "episodes", "scores", "report"],
                [f"{name}_plot" for name in nodes.PLOTS],
                name="make_plots",
            ),
            Node(
                nodes.make_report,
                ["checkpoints", "scores", "learning_curve", "episodes", "fidelity", "video", "run_record", "hardware"],
                "report",
                name="make_report",
            ),
        ]
    )
