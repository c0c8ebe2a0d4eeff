"""suite: games x seeds x variants, each a run of its own, and what they tell together."""

from meme57.pipelines.suite.pipeline import create_pipeline

__all__ = ["create_pipeline"]
