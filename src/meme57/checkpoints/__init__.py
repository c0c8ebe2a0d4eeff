"""Checkpoints: where they lie, what they hold, and what was derived from which."""
