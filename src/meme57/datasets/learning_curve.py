"""The learning curve grows while `learn` runs: rows go to a CSV file and, in batches, to MLflow."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset

from meme57.datasets.files import TablePreview, table_preview
from meme57.files import write_bytes

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]


class LearningCurveDataset(AbstractDataset[list[Row], Any]):  # type: ignore[misc]
    """Rows of metrics, in the order of emulator frames; an empty list means unchanged."""

    def __init__(self, *, filepath: str, step: str = "frames", metadata: dict[str, Any] | None = None) -> None:
        """`step` is the column that orders the rows and is MLflow's step."""
        self.path = Path(filepath)
        self.step = step
        self.metadata = metadata

    def load(self) -> pd.DataFrame:
        """The whole curve; a cell that was not measured is NaN."""
        import pandas as pd

        return pd.read_csv(self.path)

    def save(self, data: list[Row]) -> None:
        """Appends rows atomically; older rows at or beyond the first new one go (a resumed run repeats them)."""
        if not data:
            return
        start = float(data[0][self.step])
        rows = [row for row in self._read() if float(row[self.step]) < start] + data
        columns = dict.fromkeys([self.step, *(column for row in rows for column in row)])
        text = io.StringIO()
        writer = csv.DictWriter(text, list(columns), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_bytes(self.path, text.getvalue().encode())
        self._track(data)

    def preview(self, nrows: int = 20) -> TablePreview:
        """The last rows, for Kedro-Viz."""
        return table_preview(self.load().tail(nrows))

    def _read(self) -> list[Row]:
        if not self.path.exists():
            return []
        with self.path.open(newline="") as stream:
            return list(csv.DictReader(stream))

    def _track(self, rows: list[Row]) -> None:
        from meme57.tracking import runs

        active = runs.active_run()
        if active is None:
            return
        for row in rows:
            metrics = {key: value for key, value in row.items() if key != self.step}
            active.metrics.add(metrics, step=int(row[self.step]))

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self.path), "step": self.step}

    def _exists(self) -> bool:
        return self.path.exists()
