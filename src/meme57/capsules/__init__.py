"""A run in one file: what it learned, what it measured, and what reproduces it."""
