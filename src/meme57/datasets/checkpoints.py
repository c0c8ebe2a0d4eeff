"""The checkpoints of a run: `meme57.learning` writes the folders; this index names the newest and the best one."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypedDict

from kedro.io import AbstractDataset
from pydantic import BaseModel, ConfigDict, Field

from meme57.datasets.files import damage
from meme57.errors import CheckpointError, without_passwords
from meme57.files import checked, read_json, write_json

log = logging.getLogger(__name__)


class CheckpointRecord(TypedDict, total=False):
    """What `learn` yields for a checkpoint; an empty one means unchanged (Kedro refuses to save None)."""

    name: str
    folder: str
    frames: int
    updates: int
    score: float | None
    measure: str | None
    """What `score` measures."""
    is_best: bool
    metrics: dict[str, float]
    """More numbers for MLflow; the index does not store them."""


class CheckpointIndex(TypedDict):
    """What `load` returns; folders are absolute."""

    newest: CheckpointRecord
    best: CheckpointRecord
    checkpoints: list[CheckpointRecord]


class _Entry(BaseModel):
    model_config = ConfigDict(strict=True)

    name: str
    folder: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """A plain name, so that the index cannot point outside its folder."""
    frames: Annotated[int, Field(ge=0, lt=2**63)]
    """The step in MLflow."""
    updates: int = 0
    score: Annotated[float, Field(allow_inf_nan=False)] | None = None


class _Index(BaseModel):
    newest: str
    best: str
    checkpoints: list[_Entry]


class CheckpointsDataset(AbstractDataset[CheckpointRecord, CheckpointIndex]):  # type: ignore[misc]
    """A folder of checkpoints with an `index.json`; with an active run, each saved record also goes to MLflow."""

    def __init__(self, *, filepath: str, upload: list[str], metadata: dict[str, Any] | None = None) -> None:
        """`upload` names the files of a checkpoint that go to MLflow; if one is missing, none is uploaded."""
        self.path = Path(filepath)
        self.upload = upload
        self.metadata = metadata

    @property
    def index_path(self) -> Path:
        """`index.json` in the folder."""
        return self.path / "index.json"

    def load(self) -> CheckpointIndex:
        """Return the newest, the best, and every checkpoint that still exists.

        Raises:
            CheckpointError: there is no checkpoint yet, its folder is missing, or the index is damaged.
        """
        if not self.index_path.exists():
            raise CheckpointError(f"no checkpoint in {self.path}: `kedro run --pipelines learn` makes one")
        with damage(self.path, self.metadata):
            index = self._read_index()
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
        """Add a checkpoint to the index; the first one is the best until another is.

        Raises:
            CheckpointError: the record's folder is not inside this one.
        """
        from meme57.tracking import runs

        if not data:
            return
        folder = Path(data["folder"]).resolve()
        if folder.parent != self.path.resolve() or not folder.is_dir():
            raise CheckpointError(f"{folder} is not a checkpoint folder in {self.path}")
        index = self._index_to_extend()
        kept = [record for record in index["checkpoints"] if self._stays(record, data)]
        record: CheckpointRecord = {**data, "folder": folder.name, "score": _finite(data.get("score"))}
        record.pop("metrics", None)
        best = data["name"] if data.get("is_best") else index["best"]
        if best not in {there["name"] for there in [*kept, record]}:
            best = _best_name([*kept, record])
        write_json(self.index_path, {"newest": data["name"], "best": best, "checkpoints": [*kept, record]})
        if (active := runs.active_run()) is not None:
            active.checkpointed_frames = data["frames"]
        if (data["name"], data["frames"]) not in {(known["name"], known["frames"]) for known in index["checkpoints"]}:
            self._track(data, folder)  # a resumed run repeats the record of its checkpoint

    def _read_index(self) -> dict[str, Any]:
        tree: dict[str, Any] = read_json(self.index_path)
        checked(_Index, tree, self.index_path)
        return tree

    def _index_to_extend(self) -> dict[str, Any]:
        """Read the index; rebuild a damaged one from the manifests, with a warning."""
        if not self.index_path.exists():
            return {"best": None, "checkpoints": []}
        try:
            return self._read_index()
        except CheckpointError as error:
            log.warning("%s: rebuilt from the manifests", error)
            return _rebuilt(self.path)

    def _stays(self, record: CheckpointRecord, new: CheckpointRecord) -> bool:
        # A run that fell back to an earlier checkpoint writes the later ones again.
        there = (self.path / record["folder"]).is_dir()
        return there and record["name"] != new["name"] and record["frames"] <= new["frames"]

    def _absolute(self, record: CheckpointRecord) -> CheckpointRecord:
        return {**record, "folder": str((self.path / record["folder"]).resolve())}

    def _track(self, data: CheckpointRecord, folder: Path) -> None:
        from meme57.tracking import checkpoints, runs

        active = runs.active_run()
        if active is None:
            return
        metrics = {"score": data.get("score"), "updates": data.get("updates"), **data.get("metrics", {})}
        try:
            checkpoints.log_checkpoint(
                active.client,
                active.run_id,
                data["name"],
                folder,
                frames=data["frames"],
                metrics=metrics,
                files=self.upload,
            )
            active.metrics.note(metrics, step=data["frames"])  # the learning curve has them, too
            active.mirror(metrics, data["frames"])  # what is noted is not given to TensorBoard by that
        except Exception as error:  # the checkpoint is on disk: training continues even if the store fails
            log.warning("%s is not in MLflow: %s", data["name"], without_passwords(" ".join(str(error).split())))

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self.path), "upload": self.upload}

    def _exists(self) -> bool:
        return self.index_path.exists()


def _rebuilt(folder: Path) -> dict[str, Any]:
    from meme57.checkpoints.manifest import read_manifest

    records: list[CheckpointRecord] = []
    for path in sorted(folder.glob("checkpoint-*")):
        try:
            manifest = read_manifest(path)
        except CheckpointError as error:
            log.warning("%s: not in the index", error)
            continue
        facts = manifest.model_dump(include={"frames", "updates", "score", "measure", "is_best"})
        records.append({"name": path.name, "folder": path.name, **facts})  # type: ignore[typeddict-item]
    return {"best": _best_name(records), "checkpoints": records}


def _best_name(records: Sequence[CheckpointRecord]) -> str | None:
    from meme57.checkpoints import store
    from meme57.checkpoints.manifest import best_of

    best = best_of(
        [
            store.CheckpointRecord(
                one["name"],
                Path(one["folder"]),
                frames=one["frames"],
                updates=one.get("updates", 0),
                score=one.get("score"),
                is_best=False,
                measure=one.get("measure"),
            )
            for one in records
        ]
    )
    return None if best is None else best.name


def _finite(score: float | None) -> float | None:
    return score if score is not None and math.isfinite(score) else None
