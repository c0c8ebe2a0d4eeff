"""The `distill` pipeline."""

from meme57.pipelines.distill.pipeline import create_pipeline

__all__ = ["create_pipeline"]
