"""collect: the seed replay, played by the untrained agent."""

from kedro.pipeline import Node, Pipeline

from meme57.pipelines.collect import nodes


def create_pipeline() -> Pipeline:
    """Build the pipeline: env_spec to seed_replay."""
    inputs = ["parameters", "env_spec", "initial_policy_folder", "seed_replay_folder"]
    return Pipeline([Node(nodes.collect_seed_replay, inputs, "seed_replay", name="collect_seed_replay")])
