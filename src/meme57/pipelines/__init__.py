"""Wiring: one package a pipeline, `nodes.py` thin, `pipeline.py` without heavy imports."""
