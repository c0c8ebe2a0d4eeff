"""The `register` pipeline."""

from meme57.pipelines.register.pipeline import create_pipeline

__all__ = ["create_pipeline"]
