"""Scores and curves of a made-up run and suite."""

from sample_scores import episodes, learning_curve, suite_record, suite_settings, suite_table  # noqa: F401
