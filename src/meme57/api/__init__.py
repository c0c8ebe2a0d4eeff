"""The Python API: a policy by its name, and runs, curves and scores as DataFrames (docs/python.md)."""

from meme57.api.policy import Policy, load
from meme57.api.project import project_folder
from meme57.api.tables import curve, runs, scores

__all__ = ["Policy", "curve", "load", "project_folder", "runs", "scores"]
