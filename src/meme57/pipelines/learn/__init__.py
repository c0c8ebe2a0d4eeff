"""The `learn` pipeline."""

from meme57.pipelines.learn.pipeline import create_pipeline

__all__ = ["create_pipeline"]
