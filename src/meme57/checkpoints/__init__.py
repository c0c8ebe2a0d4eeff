"""Checkpoints: their files, their contents, and which results come from which checkpoint."""
