"""The `collect` pipeline."""

from meme57.pipelines.collect.pipeline import create_pipeline

__all__ = ["create_pipeline"]
