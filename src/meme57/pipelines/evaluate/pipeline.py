"""evaluate: whole episodes of random play, teacher and student, and a film."""

from kedro.pipeline import Node, Pipeline

from meme57.pipelines.evaluate import nodes


def create_pipeline() -> Pipeline:
    """Build the pipeline: checkpoints and student to episodes, scores and video."""
    inputs = ["parameters", "checkpoints", "student", "student_folder", "episodes_folder"]
    return Pipeline(
        [
            Node(nodes.play, inputs, "episodes", name="play_episodes"),
            Node(nodes.score, ["parameters", "checkpoints", "episodes"], "scores", name="score_episodes"),
            Node(nodes.film, ["parameters", "checkpoints"], "video", name="film_episode"),
        ]
    )
