"""TensorBoard files of a run: the metrics that MLflow gets, under the same names and steps (`tracking.tensorboard`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from meme57.errors import TrackingError


class TensorBoardFiles:
    """Writes event files into one folder; a resumed run adds a file, and TensorBoard shows them as one curve."""

    def __init__(self, folder: Path) -> None:
        """Open no file yet.

        Raises:
            TrackingError: tensorboardX is not installed.
        """
        try:
            import tensorboardX
        except ImportError as error:
            raise TrackingError(
                "tracking.tensorboard needs the package tensorboardX: `pip install tensorboardX`, "
                "or set tracking.tensorboard=false"
            ) from error
        self._folder, self._open = folder, tensorboardX.SummaryWriter
        self._writer: Any = None

    def add(self, metrics: Mapping[str, float], step: int) -> None:
        """Add finite numbers at one step (emulator frames)."""
        if self._writer is None:
            self._begin()
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def hide_from(self, step: int) -> None:
        """Make TensorBoard ignore what was written at this step or later: a resumed run measures it again."""
        self.close()
        self._begin(purge_step=step)

    def _begin(self, **options: Any) -> None:
        """Open a new file; its name has the number of those before, since two may begin in the same second."""
        number = len(list(self._folder.iterdir())) if self._folder.is_dir() else 0
        self._writer = self._open(str(self._folder), filename_suffix=f".{number}", **options)

    def close(self) -> None:
        """Write what waits."""
        if self._writer is not None:
            self._writer.close()
        self._writer = None
