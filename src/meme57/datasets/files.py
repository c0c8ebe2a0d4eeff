"""Whole files and folders. Kedro's own datasets write in place; these write beside and rename."""

from __future__ import annotations

import contextlib
import json
import math
import pkgutil
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NewType

from kedro.io import AbstractDataset, DatasetError

from meme57.config.renames import AGENTS, with_todays_agents
from meme57.errors import CheckpointError
from meme57.files import (
    checked,
    read_json,
    refuse_half_characters,
    storage_errors,
    write_atomically,
    write_bytes,
    write_json,
)

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


@contextlib.contextmanager
def damage(path: Path, metadata: Mapping[str, Any] | None) -> Iterator[None]:
    """Turns what a missing or damaged file raises into one line that names it and the pipeline that makes it.

    Raises:
        CheckpointError: see there.
    """
    maker = (metadata or {}).get("made_by")
    remedy = f": `kedro run --pipelines {maker}` makes it" if maker else ""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"{error}{remedy}") from error
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing{remedy}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: {str(error)[:200]}{remedy}") from error


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
    """JSON; NaN and infinity are refused. `schema` names the dataclass or model that the value must fit."""

    def __init__(self, *, filepath: str, schema: str | None = None, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(filepath=filepath, metadata=metadata)
        self.schema = schema

    def load(self) -> Any:
        """The value, as it is in the file.

        Raises:
            CheckpointError: the file is missing or damaged; the pipeline that makes it is named.
        """
        with damage(self.path, self.metadata):
            tree = with_todays_agents(read_json(self.path))
            if self.schema is not None:
                checked(pkgutil.resolve_name(self.schema), tree, self.path)
        return tree

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
        """The text; damage is a `CheckpointError`."""
        with damage(self.path, self.metadata):
            return self.path.read_text(encoding="utf-8")

    def save(self, data: str) -> None:
        """Writes the text atomically."""
        write_bytes(self.path, data.encode())
        if self.track:
            _track(self.path)


class TableDataset(_PathDataset):
    """A CSV table without an index; an empty table keeps its columns.

    `columns` are those that must be there, with their types; none of their cells may be empty or infinite.
    """

    def __init__(
        self, *, filepath: str, columns: dict[str, str] | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        super().__init__(filepath=filepath, metadata=metadata)
        self.columns = columns or {}

    def load(self) -> pd.DataFrame:
        """The table; damage is a `CheckpointError`."""
        import pandas as pd

        with damage(self.path, self.metadata):
            table = pd.read_csv(self.path, dtype=self.columns)
            for name in self.columns:
                if name not in table or table[name].isin([math.inf, -math.inf, math.nan]).any():
                    raise ValueError(f"column {name} is missing, or a cell of it is")
        return table.replace({"agent": AGENTS}) if "agent" in table else table

    def save(self, data: pd.DataFrame) -> None:
        """Writes the table atomically."""
        write_atomically(self.path, lambda temporary: data.to_csv(temporary, index=False))

    def preview(self, nrows: int = 20) -> TablePreview:
        """The first rows, for Kedro-Viz."""
        return table_preview(self.load().head(nrows))


class PlotDataset(_PathDataset):
    """A Plotly figure as JSON, in MLflow too; `plotly.io.read_json` reads it anywhere."""

    def load(self) -> Any:
        """The figure; damage is a `CheckpointError`."""
        import plotly.io

        with damage(self.path, self.metadata):
            text = self.path.read_text(encoding="utf-8")
            refuse_half_characters(text, json.loads(text))
            return plotly.io.from_json(text)

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
            CheckpointError: nothing has been saved, or it cannot be read.
        """
        with damage(self.path, self.metadata):
            self.path.open("rb").close()
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
