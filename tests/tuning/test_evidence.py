"""The comparison on fresh seeds, and the words that go with it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tiny_study import make_parameters

from meme57.config import parse_parameters
from meme57.tuning import evidence
from meme57.tuning.learning_run import Unit
from meme57.tuning.result import environment_text, evidence_lines

UNITS = [Unit("Corridor", seed) for seed in (101, 102, 103)]


@pytest.mark.parametrize(
    ("tuned", "verdict"),
    [([1.5, 1.6, 1.4], "better"), ([0.5, 0.4, 0.6], "worse"), ([2.0, 0.5, 0.6], "no difference shown")],
)
def test_the_verdict_is_the_intervals(tuned: list[float], verdict: str) -> None:
    parameters = make_parameters(evidence_seeds=[101, 102, 103])
    found = evidence.summarise_evidence(parameters, UNITS, [1.0, 1.0, 1.0], tuned)
    assert found["verdict"] == verdict
    low, high = found["difference"]["interval"]
    assert low <= found["difference"]["mean"] <= high
    assert found["difference"]["mean"] == pytest.approx(sum(tuned) / 3 - 1)
    assert found["score"] == "return"
    assert verdict in evidence_lines(found)[1]


def test_differences_are_paired_by_seed() -> None:
    """Seeds differ by 10, sides by 1: unpaired, the interval would hold 0."""
    found = evidence.summarise_evidence(make_parameters(), UNITS, [0.0, 10.0, 20.0], [1.0, 11.0, 21.0])
    assert found["difference"]["interval"] == pytest.approx([1.0, 1.0])


def test_both_sides_are_learned_on_the_fresh_seeds_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = make_parameters(evidence_seeds=[101])
    found = evidence.compare(parameters, {"learner.batch_size": 2}, tmp_path, lambda: False)
    assert found is not None
    assert len([*tmp_path.glob("Corridor-s101-*/score.json")]) == 2
    assert not [*tmp_path.rglob("checkpoint-*")]
    monkeypatch.setattr(evidence, "LearningRun", None)  # a second start learns nothing
    assert evidence.compare(parameters, {"learner.batch_size": 2}, tmp_path, lambda: False) == found
    same = evidence.compare(parameters, {"learner.batch_size": 4}, tmp_path, lambda: False)  # as configured
    assert same is not None
    assert same["configured"] == same["tuned"]


def test_without_fresh_seeds_the_environment_says_so() -> None:
    parameters = make_parameters(evidence_seeds=[])
    assert evidence.compare(parameters, {}, Path("nowhere"), lambda: False) is None
    record = {
        "best": {"trial": 1, "score": 0.5, "values": {"learner.batch_size": 6}},
        "trials": [{}, {}], "frames": 10, "score": "return", "metric": "final",
    }  # fmt: skip
    text = environment_text(parameters, record, None)
    assert "biased upwards" in text
    assert parse_parameters(yaml.safe_load(text)).learner.batch_size == 6
    assert "tune" not in yaml.safe_load(text)
