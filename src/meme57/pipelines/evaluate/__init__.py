"""The `evaluate` pipeline."""

from meme57.pipelines.evaluate.pipeline import create_pipeline

__all__ = ["create_pipeline"]
