"""meme57: the MEME agent (Kapturowski et al., 2022) as a reproducible workflow."""

__version__ = "0.1.0"
