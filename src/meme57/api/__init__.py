"""The Python API: a policy by its name, and runs, curves and scores as DataFrames (docs/python.md)."""
