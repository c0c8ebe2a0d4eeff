"""The `setup` pipeline."""

from meme57.pipelines.setup.pipeline import create_pipeline

__all__ = ["create_pipeline"]
