"""JSON files of suites and studies fit their schemas as they are made; spoilt, they are one line with the remedy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from kedro.io import DatasetError

from meme57.config import parse_parameters
from meme57.datasets import JsonDataset
from meme57.errors import CheckpointError, own_error
from meme57.tuning.evidence import summarise_evidence
from meme57.tuning.learning_run import NORMALISED, Unit
from sample_scores import suite_record, suite_settings, suite_table  # noqa: F401

CATALOG = yaml.safe_load((Path(__file__).parents[2] / "conf" / "base" / "catalog.yml").read_text())


def evidence(num_seeds: int) -> dict[str, Any]:
    units = [Unit("Pong", seed) for seed in range(num_seeds)]
    scores = [float(seed) for seed in range(num_seeds)]
    tuned = [score + 0.5 for score in scores]
    return summarise_evidence(parse_parameters({}), units, scores, tuned, scale=NORMALISED)


BEST = {"trial": 1, "score": 0.5, "values": {"learner.learning_rate": 0.1}}
STUDY = {"study": "Pong", "fingerprint": "abc", "games": ["Pong"], "frames": 100, "best": BEST}


@pytest.fixture
def made(suite_table: tuple[pd.DataFrame, dict[str, Any]]) -> dict[str, list[Any]]:  # noqa: F811
    return {
        "study_evidence": [{}, evidence(1), evidence(3)],
        "tuned_evidence": [{**STUDY, "evidence": None}, {**STUDY, "evidence": evidence(3)}],
        "suite_scores": [suite_table[1]],
    }


@pytest.mark.parametrize("name", ["study_evidence", "tuned_evidence", "suite_scores"])
def test_what_a_pipeline_makes_fits_and_what_is_spoilt_does_not(
    tmp_path: Path, made: dict[str, list[Any]], name: str
) -> None:
    entry = CATALOG[name]
    path = tmp_path / "file.json"
    dataset = JsonDataset(filepath=str(path), schema=entry["schema"], metadata=entry["metadata"])
    for value in made[name]:
        dataset.save(value)
        assert dataset.load() == value
    for spoilt in ([], None, 5, "text", {"seeds": 1}, {**made[name][-1], "games": 5, "difference": None}):
        path.write_text(json.dumps(spoilt))
        with pytest.raises(DatasetError) as info:
            dataset.load()
        told = str(own_error(info.value))
        assert isinstance(own_error(info.value), CheckpointError)
        assert told.startswith(f"{path} is damaged: ")
        assert told.endswith(f"`kedro run --pipelines {entry['metadata']['made_by']}` makes it")
        assert "\n" not in told


def test_every_json_file_has_a_schema() -> None:
    """But the run record, which the hooks check before anything runs."""
    without = {
        name
        for name, entry in CATALOG.items()
        if isinstance(entry, dict) and entry["type"].endswith("JsonDataset") and "schema" not in entry
    }
    assert without == {"run_record"}
