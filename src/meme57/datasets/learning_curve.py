"""The learning curve, which grows while `learn` runs: rows go to a CSV file and, in batches, to MLflow."""

from __future__ import annotations

import csv
import io
import logging
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset

from meme57.datasets.files import TablePreview, damage, table_preview
from meme57.errors import CheckpointError
from meme57.files import reading_errors, write_atomically, write_bytes

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]
FRAMES = "frames"
"""The column that orders the rows; it is also the step in MLflow."""

log = logging.getLogger(__name__)


class LearningCurveDataset(AbstractDataset[list[Row], Any]):  # type: ignore[misc]
    """Rows of metrics, ordered by emulator frames; an empty list means unchanged."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self.path = Path(filepath)
        self.metadata = metadata
        self._written: _Written | None = None

    def load(self) -> pd.DataFrame:
        """Return the whole curve; a cell that was not measured is NaN.

        Raises:
            CheckpointError: the file is damaged; `learn` renames it and starts a new one.
        """
        import pandas as pd

        with damage(self.path, self.metadata):
            curve = pd.read_csv(self.path)
            texts = list(curve.select_dtypes(exclude="number"))
            if texts:
                raise ValueError(f"column {texts[0]} contains a text that is no number")
            if FRAMES not in curve or not curve[FRAMES].between(0, 2**63, inclusive="left").all():
                raise ValueError(f"column {FRAMES} is missing, or a cell of it is")
        return curve

    def save(self, data: list[Row]) -> None:
        """Append rows atomically; drop older rows at or beyond the first new one, since a resumed run repeats them."""
        if not data:
            return
        written, known = self._written, dict[float, Row]()
        if written is not None and written.is_continued_by(data, self.path):
            columns = written.columns
            write_atomically(self.path, lambda temporary: _append(self.path, temporary, columns, data))
        else:
            columns, known = self._rewrite(data)
        self._written = _Written(_signature(self.path), columns, float(data[-1][FRAMES]))
        news = (_beyond(row, known.get(float(row[FRAMES]), {})) for row in data)
        self._track([row for row in news if row], self._written.frames)

    def _rewrite(self, data: list[Row]) -> tuple[list[str], dict[float, Row]]:
        """Write the whole file; return its columns, and the rows that were there before by their frames."""
        start, before = float(data[0][FRAMES]), self._read()
        rows = [row for row in before if float(row[FRAMES]) < start] + data
        columns = list(dict.fromkeys([FRAMES, *(column for row in rows for column in row)]))
        write_bytes(self.path, _lines(columns, [dict(zip(columns, columns, strict=True)), *rows]))
        if before and float(before[-1][FRAMES]) > start:
            self._hide_tracked_after(start)
        return columns, {float(row[FRAMES]): row for row in before}

    def preview(self, nrows: int = 20) -> TablePreview:
        """Return the last rows, for Kedro-Viz."""
        return table_preview(self.load().tail(nrows))

    def _read(self) -> list[Row]:
        """Read the rows on disk; rename a file that is no learning curve, with a warning.

        Raises:
            StorageError: it cannot be read now.
        """
        if not self.path.exists():
            return []
        try:
            with reading_errors(self.path), self.path.open(newline="", encoding="utf-8") as stream:
                reader = csv.DictReader(stream)
                rows: list[Row] = list(reader)
            if reader.fieldnames is not None and FRAMES not in reader.fieldnames:
                raise ValueError(f"no column {FRAMES}")
            numbers = [[float(cell) for cell in row.values() if cell] for row in rows if None not in row]
            if len(numbers) == len(rows) and all(math.isfinite(float(row[FRAMES])) for row in rows):
                return rows
            reason = "a row is not finite or too long"
        except (CheckpointError, KeyError, TypeError, ValueError, csv.Error) as error:
            reason = f"{type(error).__name__} {error}"
        aside = self.path.with_name(f"damaged-{self.path.name}")
        self.path.replace(aside)
        log.warning("%s is damaged (%s): renamed to %s, and a new curve begins", self.path, reason, aside.name)
        return []

    def _hide_tracked_after(self, step: float) -> None:
        from meme57.tracking import runs

        active = runs.active_run()
        if active is not None and active.tensorboard is not None:
            active.tensorboard.hide_from(int(step) + 1)

    def _track(self, new: list[Row], frames: float) -> None:
        """Send new rows to the active run, and all rows, up to `frames`, to its parent, once a checkpoint covers it."""
        from meme57.tracking import runs

        active = runs.active_run()
        if active is None:
            return
        for row in new:
            metrics = {key: value for key, value in row.items() if key != FRAMES}
            active.metrics.add(metrics, step=int(row[FRAMES]))
        if frames <= active.checkpointed_frames:
            active.curve.bring_up_to_date([_numbers(row) for row in self._read()])

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self.path)}

    def _exists(self) -> bool:
        return self.path.exists()


@dataclass(frozen=True)
class _Written:
    """The file as this dataset wrote it, so that the next rows need not read it again: a long run has thousands."""

    signature: tuple[int, ...]
    columns: list[str]
    frames: float
    """Of the last row."""

    def is_continued_by(self, data: list[Row], path: Path) -> bool:
        """Say whether the file is still that one, and the rows come after its last one and have no other columns."""
        return (
            float(data[0][FRAMES]) > self.frames
            and all(column in self.columns for row in data for column in row)
            and path.exists()
            and _signature(path) == self.signature
        )


def _signature(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _append(path: Path, temporary: Path, columns: list[str], data: list[Row]) -> None:
    shutil.copyfile(path, temporary)
    with temporary.open("ab") as stream:
        stream.write(_lines(columns, data))


def _lines(columns: list[str], rows: list[Row]) -> bytes:
    text = io.StringIO()
    csv.DictWriter(text, columns, restval="", lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _beyond(row: Row, known: Row) -> Row:
    """Return what the row has beyond the same row as it was read; nothing if that is its frames alone."""
    new = {name: value for name, value in row.items() if name == FRAMES or known.get(name, "") == ""}
    return new if len(new) > 1 else {}


def _numbers(row: Row) -> dict[str, float]:
    """Convert the cells of a row from text to numbers; leave out what was not measured."""
    return {name: float(cell) for name, cell in row.items() if cell not in (None, "")}
