"""meme57: the MEME agent (Kapturowski et al., 2022) as a reproducible workflow. Importing it switches telemetry off.

`load`, `runs`, `curve` and `scores` are the Python API (docs/python.md); what they need is imported when they are used.
"""

from __future__ import annotations

from meme57.privacy import switch_off

TYPE_CHECKING = False  # as typing's, which nothing is to import before the switches
if TYPE_CHECKING:
    from meme57.api.policy import Policy, load
    from meme57.api.project import project_folder
    from meme57.api.tables import curve, runs, scores

__version__ = "0.2.0.dev0"
__all__ = ["Policy", "__version__", "curve", "load", "project_folder", "runs", "scores"]
_HOMES = {
    "Policy": "policy", "load": "policy", "project_folder": "project", "curve": "tables", "runs": "tables",
    "scores": "tables",
}  # fmt: skip


def __getattr__(name: str) -> object:
    if name in _HOMES:
        import importlib

        found: object = getattr(importlib.import_module(f"meme57.api.{_HOMES[name]}"), name)
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


switch_off()
