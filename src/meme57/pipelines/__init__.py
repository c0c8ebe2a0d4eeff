"""The pipelines, one package each: `nodes.py` is thin, and `pipeline.py` has no heavy imports."""

FLOW = ("setup", "collect", "learn", "distill", "evaluate", "report", "register")
"""The pipelines of `kedro run`, in order."""
