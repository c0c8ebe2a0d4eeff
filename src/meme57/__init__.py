"""meme57: the MEME agent (Kapturowski et al., 2022) as a reproducible workflow. Importing it switches telemetry off."""

from meme57.privacy import switch_off

__version__ = "0.2.0.dev0"

switch_off()
