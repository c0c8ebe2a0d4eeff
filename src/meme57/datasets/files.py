"""Whole files and folders. Kedro's own datasets write in place; these write beside and rename."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NewType

from kedro.io import AbstractDataset, DatasetError

from meme57.errors import CheckpointError
from meme57.files import read_json, storage_errors, write_atomically, write_bytes, write_json

if TYPE_CHECKING:
    import pandas as pd

# Kedro-Viz reads these names off the annotation of `preview`.
JSONPreview = NewType("JSONPreview", str)
PlotlyPreview = NewType("PlotlyPreview", dict[str, Any])
TablePreview = NewType("TablePreview", dict[str, Any])


def table_preview(table: pd.DataFrame) -> TablePreview:
    """Rows as Kedro-Viz wants them; a missing cell is None, which JSON knows."""
    cells = table.astype(object).where(table.notna(), None)
    return TablePreview(cells.to_dict(orient="split"))


class _PathDataset(AbstractDataset[Any, Any]):  # type: ignore[misc]
    """A dataset that is one path."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self.path = Path(filepath)
        self.metadata = metadata

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self.path)}

    def _exists(self) -> bool:
        return self.path.exists()


def _track(path: Path) -> None:
    """Adds the file to the active run in MLflow, if there is one; what is on disk counts, whatever the store says."""
    from meme57.tracking import runs

    active = runs.active_run()
    if active is not None:
        runs.log_file(active, path)


class JsonDataset(_PathDataset):
    """JSON; NaN and infinity are refused."""

    def load(self) -> Any:
        """The value.

        Raises:
            CheckpointError: the file is missing or damaged; the pipeline that makes it is named.
        """
        try:
            return read_json(self.path)
        except CheckpointError as error:
            maker = (self.metadata or {}).get("made_by")
            remedy = f": `kedro run --pipelines {maker}` makes it" if maker else ""
            raise CheckpointError(f"{error}{remedy}") from error

    def save(self, data: Any) -> None:
        """Writes the value atomically, keys in the order given."""
        write_json(self.path, data)

    def preview(self) -> JSONPreview:
        """The text, for Kedro-Viz."""
        return JSONPreview(self.path.read_text())


class TextDataset(_PathDataset):
    """Text, such as the HTML report; with `track`, it goes to MLflow too."""

    def __init__(self, *, filepath: str, track: bool = False, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(filepath=filepath, metadata=metadata)
        self.track = track

    def load(self) -> str:
        """The text."""
        return self.path.read_text(encoding="utf-8")

    def save(self, data: str) -> None:
        """Writes the text atomically."""
        write_bytes(self.path, data.encode())
        if self.track:
            _track(self.path)


class TableDataset(_PathDataset):
    """A CSV table without an index; an empty table keeps its columns."""

    def load(self) -> pd.DataFrame:
        """The table."""
        import pandas as pd

        return pd.read_csv(self.path)

    def save(self, data: pd.DataFrame) -> None:
        """Writes the table atomically."""
        write_atomically(self.path, lambda temporary: data.to_csv(temporary, index=False))

    def preview(self, nrows: int = 20) -> TablePreview:
        """The first rows, for Kedro-Viz."""
        return table_preview(self.load().head(nrows))


class PlotDataset(_PathDataset):
    """A Plotly figure as JSON, in MLflow too; `plotly.io.read_json` reads it anywhere."""

    def load(self) -> Any:
        """The figure."""
        import plotly.io

        return plotly.io.from_json(self.path.read_text())

    def save(self, data: Any) -> None:
        """Writes the figure atomically."""
        write_bytes(self.path, data.to_json().encode())
        _track(self.path)

    def preview(self) -> PlotlyPreview:
        """The figure's JSON, for Kedro-Viz."""
        return PlotlyPreview(json.loads(self.path.read_text()))


class FileDataset(_PathDataset):
    """A file that something else knows how to write, such as a video: bytes or a path go in, the path comes out.

    An empty file stands for what could not be made: Kedro and DVC ask for every output.
    """

    def load(self) -> Path:
        """The path.

        Raises:
            FileNotFoundError: nothing has been saved.
        """
        if not self.path.is_file():
            raise FileNotFoundError(f"{self.path} is missing")
        return self.path

    def save(self, data: bytes | Path) -> None:
        """Writes the bytes, or a copy of the file, atomically."""
        if isinstance(data, bytes):
            write_bytes(self.path, data)
        elif data.resolve() != self.path.resolve():
            write_atomically(self.path, lambda temporary: shutil.copyfile(data, temporary))


class FolderDataset(_PathDataset):
    """A folder of the run, made when asked for; nodes read it as an input and write into it themselves."""

    def load(self) -> Path:
        """The folder, which exists."""
        with storage_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        return self.path

    def save(self, data: Path) -> None:
        """Nothing can be saved as a folder.

        Raises:
            DatasetError: always.
        """
        raise DatasetError(f"{self.path} is a folder: write into it, and return a record instead of {data}")

    def _exists(self) -> bool:
        return True
