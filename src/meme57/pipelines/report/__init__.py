"""The `report` pipeline."""

from meme57.pipelines.report.pipeline import create_pipeline

__all__ = ["create_pipeline"]
