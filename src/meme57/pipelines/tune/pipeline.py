"""tune: a study over the agent's parameters, and the environment with its best trial's values."""

from kedro.pipeline import Node, Pipeline

from meme57.pipelines.tune import nodes

PLOTS = [f"study_{name}_plot" for name in ("history", "importances", "parallel", "slices", "intermediate")]


def create_pipeline() -> Pipeline:
    """Build the pipeline: parameters to study record, evidence, environment, plots and report; a study resumes."""
    folders = ["study_folder", "trials_folder"]
    return Pipeline(
        [
            Node(nodes.run_study, ["parameters", "tracking_run", *folders], "study_record", name="run_study"),
            Node(nodes.compare, ["parameters", "study_record", "trials_folder"], "study_evidence", name="compare"),
            Node(
                nodes.write_environment,
                ["parameters", "study_record", "study_evidence", "place"],
                ["tuned_parameters", "tuned_evidence"],
                name="write_environment",
            ),
            Node(
                nodes.make_study_plots,
                ["parameters", "study_record", "study_evidence", *folders],
                [*PLOTS, "study_report"],
                name="make_study_plots",
            ),
            Node(
                nodes.show_study, ["study_record", "study_evidence", "study_report", "place"], None, name="show_study"
            ),
        ]
    )
