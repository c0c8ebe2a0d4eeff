"""meme57: the MEME agent (Kapturowski et al., 2022) as a reproducible workflow. Importing it switches telemetry off.

`load`, `runs`, `curve` and `scores` are the Python API (docs/python.md); what they need is imported when they are used.
"""

from typing import TYPE_CHECKING, Any

from meme57.privacy import switch_off

if TYPE_CHECKING:
    from meme57.api import Policy, curve, load, project_folder, runs, scores

__version__ = "0.2.0.dev0"
__all__ = ["Policy", "__version__", "curve", "load", "project_folder", "runs", "scores"]

switch_off()


def __getattr__(name: str) -> Any:
    if name in __all__:
        import importlib

        return getattr(importlib.import_module("meme57.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
