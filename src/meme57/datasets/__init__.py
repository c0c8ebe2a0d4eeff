"""Datasets that Kedro lacks: atomic files, folders, and outputs that grow while a node runs."""

from meme57.datasets.checkpoints import CheckpointsDataset
from meme57.datasets.files import (
    FileDataset,
    FolderDataset,
    JsonDataset,
    PlotDataset,
    TableDataset,
    TextDataset,
)
from meme57.datasets.learning_curve import LearningCurveDataset

__all__ = [
    "CheckpointsDataset",
    "FileDataset",
    "FolderDataset",
    "JsonDataset",
    "LearningCurveDataset",
    "PlotDataset",
    "TableDataset",
    "TextDataset",
]
