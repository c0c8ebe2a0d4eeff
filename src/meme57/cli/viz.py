"""`kedro viz` without two network and disk accesses that it cannot switch off: `python -m meme57.cli.viz viz run ...`.

Its server would ask PyPI for the newest version, and write an id for telemetry under HOME. The server is a separate
process, which imports this module again before it starts.
"""

from __future__ import annotations

from kedro.framework.cli.cli import main
from kedro_viz.integrations import pypi
from kedro_viz.integrations.kedro import telemetry

pypi.get_latest_version = lambda: pypi.parse(pypi.__version__)
telemetry.get_heap_identity = lambda: None

if __name__ == "__main__":
    main()
