"""suite: games x seeds x variants, each as its own run, and their results together."""

from meme57.pipelines.suite.pipeline import create_pipeline

__all__ = ["create_pipeline"]
