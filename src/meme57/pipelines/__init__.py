"""Wiring: one package a pipeline, `nodes.py` thin, `pipeline.py` without heavy imports."""

FLOW = ("setup", "collect", "learn", "distill", "evaluate", "report", "register")
"""The pipelines of `kedro run`, in their order."""
