"""Whole files and folders. Kedro's datasets write in place; these write a temporary file and rename it."""

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

# Kedro-Viz reads these names in the annotation of `preview`.
JSONPreview = NewType("JSONPreview", str)
PlotlyPreview = NewType("PlotlyPreview", dict[str, Any])
TablePreview = NewType("TablePreview", dict[str, Any])


def table_preview(table: pd.DataFrame) -> TablePreview:
    """Convert rows to the form that Kedro-Viz needs; a missing cell becomes None, since JSON has no NaN."""
    cells = table.astype(object).where(table.notna(), None)
    return TablePreview(cells.to_dict(orient="split"))


@contextlib.contextmanager
def damage(path: Path, metadata: Mapping[str, Any] | None) -> Iterator[None]:
    """Turn any error of a missing or damaged file into one line that names the file and the pipeline that makes it.

    Raises:
        CheckpointError: always, in place of the other error.
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
    """Add the file to the active run in MLflow, if there is one; if the store fails, the file on disk is enough."""
    from meme57.tracking import runs

    active = runs.active_run()
    if active is not None:
        runs.log_file(active, path)


class JsonDataset(_PathDataset):
    """A JSON file without NaN and infinity. `schema` names the dataclass or model that the value must fit.

    With `optional`, a missing file is an empty mapping, for nodes that work without it.
    """

    def __init__(
        self,
        *,
        filepath: str,
        schema: str | None = None,
        optional: bool = False,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(filepath=filepath, metadata=metadata)
        self.schema, self.optional = schema, optional

    def load(self) -> Any:
        """Return the value in the file; agents have their names of today.

        Raises:
            CheckpointError: the file is missing or damaged; the message names the pipeline that makes it.
        """
        if self.optional and not self.path.exists():
            return {}
        with damage(self.path, self.metadata):
            tree = with_todays_agents(read_json(self.path))
            if self.schema is not None:
                checked(pkgutil.resolve_name(self.schema), tree, self.path)
        return tree

    def save(self, data: Any) -> None:
        """Write the value atomically; keys keep their order."""
        write_json(self.path, data)

    def preview(self) -> JSONPreview:
        """Return the text, for Kedro-Viz."""
        return JSONPreview(self.path.read_text())


class TextDataset(_PathDataset):
    """A text file, such as the HTML report; with `track`, it also goes to MLflow."""

    def __init__(self, *, filepath: str, track: bool = False, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(filepath=filepath, metadata=metadata)
        self.track = track

    def load(self) -> str:
        """Return the text; a missing or damaged file is a `CheckpointError`."""
        with damage(self.path, self.metadata):
            return self.path.read_text(encoding="utf-8")

    def save(self, data: str) -> None:
        """Write the text atomically."""
        write_bytes(self.path, data.encode())
        if self.track:
            _track(self.path)


class TableDataset(_PathDataset):
    """A CSV table without an index; an empty table keeps its columns.

    `columns` are the required columns with their types; none of their cells may be empty or infinite.
    """

    def __init__(
        self, *, filepath: str, columns: dict[str, str] | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        super().__init__(filepath=filepath, metadata=metadata)
        self.columns = columns or {}

    def load(self) -> pd.DataFrame:
        """Return the table, agents with their names of today; a missing or damaged file is a `CheckpointError`."""
        import pandas as pd

        with damage(self.path, self.metadata):
            table = pd.read_csv(
                self.path, dtype=self.columns, keep_default_na=False, na_values=[""]
            )  # a name may be NA
            for name in self.columns:
                if name not in table or table[name].isin([math.inf, -math.inf, math.nan]).any():
                    raise ValueError(f"column {name} is missing, or one of its cells is empty or infinite")
        return table.replace({"agent": AGENTS}) if "agent" in table else table

    def save(self, data: pd.DataFrame) -> None:
        """Write the table atomically."""
        write_atomically(self.path, lambda temporary: data.to_csv(temporary, index=False))

    def preview(self, nrows: int = 20) -> TablePreview:
        """Return the first rows, for Kedro-Viz."""
        return table_preview(self.load().head(nrows))


class PlotDataset(_PathDataset):
    """A Plotly figure as JSON, which also goes to MLflow; `plotly.io.read_json` reads it anywhere."""

    def load(self) -> Any:
        """Return the figure; a missing or damaged file is a `CheckpointError`."""
        import plotly.io

        with damage(self.path, self.metadata):
            text = self.path.read_text(encoding="utf-8")
            refuse_half_characters(text, json.loads(text))
            return plotly.io.from_json(text)

    def save(self, data: Any) -> None:
        """Write the figure atomically."""
        write_bytes(self.path, data.to_json().encode())
        _track(self.path)

    def preview(self) -> PlotlyPreview:
        """Return the figure's JSON, for Kedro-Viz."""
        return PlotlyPreview(json.loads(self.path.read_text()))


class FileDataset(_PathDataset):
    """A file in any format, such as a video: save bytes or a path, load the path.

    An empty file stands for one that could not be made, since Kedro and DVC require every output.
    """

    def load(self) -> Path:
        """Return the path.

        Raises:
            CheckpointError: nothing was saved, or the file cannot be read.
        """
        with damage(self.path, self.metadata):
            self.path.open("rb").close()
        return self.path

    def save(self, data: bytes | Path) -> None:
        """Write the bytes, or a copy of the file, atomically."""
        if isinstance(data, bytes):
            write_bytes(self.path, data)
        elif data.resolve() != self.path.resolve():
            write_atomically(self.path, lambda temporary: shutil.copyfile(data, temporary))


class FolderDataset(_PathDataset):
    """A folder of the run. Loading creates it; nodes take it as an input and write into it."""

    def load(self) -> Path:
        """Create the folder if necessary, and return it."""
        with storage_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        return self.path

    def save(self, data: Path) -> None:
        """Refuse to save: nothing can be saved as a folder.

        Raises:
            DatasetError: always.
        """
        raise DatasetError(f"{self.path} is a folder: write into it, and return a record instead of {data}")

    def _exists(self) -> bool:
        return True
