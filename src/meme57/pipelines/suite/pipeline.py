"""suite: games x seeds x variants, which resume, survive a failed member, and end in one report."""

from kedro.pipeline import Node, Pipeline

from meme57.pipelines.suite import nodes

PLOTS = [f"suite_{name}_plot" for name in ("games", "profile", "curves")]


def create_pipeline() -> Pipeline:
    """Build the pipeline: parameters to the members' runs, table, scores, plots and report; a suite resumes."""
    return Pipeline(
        [
            Node(
                nodes.run_members,
                ["parameters", "tracking_run", "place", "suite_folder"],
                "suite_record",
                name="run_members",
            ),
            Node(nodes.tabulate, ["parameters", "suite_record"], ["suite_results", "suite_scores"], name="tabulate"),
            Node(
                nodes.make_suite_plots,
                ["parameters", "suite_record", "suite_scores", "suite_results"],
                [*PLOTS, "suite_report"],
                name="make_suite_plots",
            ),
            Node(nodes.check_members, ["suite_record", "suite_report"], None, name="check_members"),
        ]
    )
