"""learn: train the agent with a generator that yields checkpoints and metrics as they come."""

from kedro.pipeline import Node, Pipeline

from meme57.pipelines.learn import nodes


def create_pipeline() -> Pipeline:
    """Build the pipeline: seed replay to checkpoints and learning_curve; it resumes from the newest checkpoint."""
    inputs = [
        "parameters",
        "env_spec",
        "seed_replay",
        "seed_replay_folder",
        "initial_policy_folder",
        "checkpoint_folder",
        "place",
    ]
    return Pipeline([Node(nodes.learn, inputs, ["checkpoints", "learning_curve"], name="learn")])
