"""The `tune` pipeline."""

from meme57.pipelines.tune.pipeline import create_pipeline

__all__ = ["create_pipeline"]
