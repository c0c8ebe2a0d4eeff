"""setup: the game, the policies, the machine and the run record."""

from kedro.pipeline import Node, Pipeline

from meme57.pipelines.setup import nodes


def create_pipeline() -> Pipeline:
    """Build the pipeline: parameters to env_spec, policy_family, hardware, estimate and run_record."""
    return Pipeline(
        [
            Node(
                nodes.fetch_initial_policy,
                ["parameters", "place", "initial_policy_folder", "estimate"],
                "initial_policy",
                name="fetch_initial_policy",
            ),
            Node(nodes.make_env_spec, ["parameters", "initial_policy"], "env_spec", name="make_env_spec"),
            Node(nodes.make_policy_family, "parameters", "policy_family", name="make_policy_family"),
            Node(nodes.describe_hardware, "place", "hardware", name="describe_hardware"),
            Node(
                nodes.estimate_resources,
                ["parameters", "place"],
                "estimate",
                name="estimate_resources",
            ),
            Node(
                nodes.make_run_record,
                ["parameters", "tracking_run", "place", "initial_policy"],
                "run_record",
                name="make_run_record",
            ),
        ]
    )
