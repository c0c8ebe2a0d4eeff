"""The checkpoints of a run: the learning library writes the folders, this index says which are newest and best."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any, TypedDict

from kedro.io import AbstractDataset

from meme57.errors import CheckpointError, TrackingError
from meme57.files import read_json, write_json

log = logging.getLogger(__name__)


class CheckpointRecord(TypedDict, total=False):
    """What `learn` yields for a checkpoint; an empty one means unchanged (Kedro refuses to save None)."""

    name: str
    folder: str
    frames: int
    updates: int
    score: float | None
    is_best: bool
    metrics: dict[str, float]
    """More numbers for MLflow; not kept in the index."""


class CheckpointIndex(TypedDict):
    """What is loaded; folders are absolute."""

    newest: CheckpointRecord
    best: CheckpointRecord
    checkpoints: list[CheckpointRecord]


class CheckpointsDataset(AbstractDataset[CheckpointRecord, CheckpointIndex]):  # type: ignore[misc]
    """Folder of checkpoints with an `index.json`; each saved record is stored in MLflow too, when a run is active."""

    def __init__(
        self, *, filepath: str, upload: list[str] | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        """`upload` names the files of a checkpoint that go to MLflow; by default manifest and weights, not replay."""
        self.path = Path(filepath)
        self.upload = upload
        self.metadata = metadata

    @property
    def index_path(self) -> Path:
        """`index.json` in the folder."""
        return self.path / "index.json"

    def load(self) -> CheckpointIndex:
        """Newest, best, and every checkpoint that is still there.

        Raises:
            CheckpointError: there is none yet, or its folder is gone.
        """
        if not self.index_path.exists():
            raise CheckpointError(f"no checkpoint in {self.path}: `kedro run --pipelines learn` makes one")
        index = read_json(self.index_path)
        records = [self._absolute(record) for record in index["checkpoints"]]
        by_name = {str(record["name"]): record for record in records if Path(record["folder"]).is_dir()}
        for role in ("newest", "best"):
            if index[role] not in by_name:
                raise CheckpointError(
                    f"the {role} checkpoint {index[role]} is gone from {self.path}: `kedro run --pipelines learn`"
                )
        return CheckpointIndex(
            newest=by_name[index["newest"]], best=by_name[index["best"]], checkpoints=list(by_name.values())
        )

    def save(self, data: CheckpointRecord) -> None:
        """Adds a checkpoint to the index; without a best one yet, it is the best.

        Raises:
            CheckpointError: the record's folder does not lie in this one.
        """
        if not data:
            return
        folder = Path(data["folder"]).resolve()
        if folder.parent != self.path.resolve() or not folder.is_dir():
            raise CheckpointError(f"{folder} is not a checkpoint folder in {self.path}")
        index = read_json(self.index_path) if self.index_path.exists() else {"best": None, "checkpoints": []}
        kept = [record for record in index["checkpoints"] if self._stays(record, data)]
        kept_names = {record["name"] for record in kept}
        best = data["name"] if data.get("is_best") or index["best"] not in kept_names else index["best"]
        record = {**data, "folder": folder.name, "score": _finite(data.get("score"))}
        record.pop("metrics", None)
        write_json(self.index_path, {"newest": data["name"], "best": best, "checkpoints": [*kept, record]})
        self._track(data, folder)

    def _stays(self, record: CheckpointRecord, new: CheckpointRecord) -> bool:
        # A run that fell back to an earlier checkpoint goes over the later ones again.
        there = (self.path / record["folder"]).is_dir()
        return there and record["name"] != new["name"] and record["frames"] <= new["frames"]

    def _absolute(self, record: CheckpointRecord) -> CheckpointRecord:
        return {**record, "folder": str((self.path / record["folder"]).resolve())}

    def _track(self, data: CheckpointRecord, folder: Path) -> None:
        from meme57.tracking import checkpoints, runs

        active = runs.active_run()
        if active is None:
            return
        files = {} if self.upload is None else {"files": self.upload}
        metrics = {"score": data.get("score"), "updates": data.get("updates"), **data.get("metrics", {})}
        try:
            checkpoints.log_checkpoint(
                active.client, active.run_id, data["name"], folder, frames=data["frames"], metrics=metrics, **files
            )
        except TrackingError as error:  # the checkpoint is on disk: training goes on
            log.warning("%s", error)

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self.path), "upload": self.upload}

    def _exists(self) -> bool:
        return self.index_path.exists()


def _finite(score: float | None) -> float | None:
    return score if score is not None and math.isfinite(score) else None
