"""The tuned values beside the configured ones, on fresh seeds: the best of many noisy trials is biased upwards."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meme57.config import Parameters
from meme57.config.identity import former_fingerprint
from meme57.config.labels import short_hash
from meme57.errors import CheckpointError, TuningError
from meme57.evaluation.reference import has_reference
from meme57.files import read_json, write_json
from meme57.intervals import ROUNDING, Estimate, mean_of
from meme57.stopping import stop_requested
from meme57.tuning.learning_run import Health, LearningRun, Unit, unit_parameters
from meme57.tuning.workers import spread

log = logging.getLogger(__name__)

SIDES = ("configured", "tuned")
VERDICTS = {1: "better", -1: "worse", 0: "no difference shown"}


@dataclass(frozen=True)
class FreshRun:
    """One learning run of the comparison; plain values, so that it can go to another process."""

    parameters: Parameters
    values: Mapping[str, Any]
    unit: Unit
    folder: Path


def compare(
    parameters: Parameters, values: Mapping[str, Any], folder: Path, stop: Callable[[], bool]
) -> dict[str, Any] | None:
    """Learns both sides on `tune.evidence_seeds`; what is in `folder` already is not learned again.

    Returns None where no seeds are given. JSON-able: the scores of each side, and the mean difference with its
    interval over seeds, paired.
    """
    tune = parameters.tune
    if not tune.evidence_seeds:
        return None
    units = [Unit(game, seed) for game in parameters.tune_games for seed in tune.evidence_seeds]
    runs = {
        side: [FreshRun(parameters, chosen, unit, _folder(folder, parameters, chosen, unit)) for unit in units]
        for side, chosen in zip(SIDES, ({}, dict(values)), strict=True)
    }
    unique = {run.folder: run for side in SIDES for run in runs[side]}  # the best may be what is configured
    scores = dict(zip(unique, spread(learn_fresh, list(unique.values()), tune, stop), strict=True))
    configured, tuned = ([scores[run.folder] for run in runs[side]] for side in SIDES)
    return summarise_evidence(parameters, units, configured, tuned)


def learn_fresh(run: FreshRun) -> float:
    """The score of one learning run; it is kept, and its checkpoints are not."""
    result = run.folder / "score.json"
    if (kept := _kept_score(result)) is not None:
        return kept
    tune = run.parameters.tune
    chosen = _fresh_parameters(run.parameters, run.values, run.unit)
    frames = chosen.run.total_frames
    learning = LearningRun(chosen, run.folder, tune, stop=stop_requested, health=Health())
    try:
        learning.advance(frames)
    finally:
        learning.close()
    score = learning.value()
    if score is None:
        raise TuningError(f"no episode of {run.unit.game} ended within {frames} frames: raise tune.evidence_frames")
    write_json(result, score)
    shutil.rmtree(run.folder / "checkpoints")
    return score


def _kept_score(path: Path) -> float | None:
    """None where nothing was learned yet, or the file is damaged, with a warning."""
    if not path.exists():
        return None
    try:
        score = read_json(path)
    except CheckpointError as error:
        log.warning("%s: it is learned again", error)
        return None
    if isinstance(score, int | float) and math.isfinite(score):
        return float(score)
    log.warning("%s is damaged, it holds no number: it is learned again", path)
    return None


def summarise_evidence(
    parameters: Parameters, units: list[Unit], configured: list[float], tuned: list[float]
) -> dict[str, Any]:
    """Scores of both sides, the interval of their paired difference, and what it shows.

    A seed's difference is its mean over games; seeds are what is independent, so that the interval is Student's over
    them, whatever the games' scales.
    """
    tune = parameters.tune
    by_seed: dict[int, list[float]] = {}
    for unit, before, after in zip(units, configured, tuned, strict=True):
        by_seed.setdefault(unit.seed, []).append(after - before)
    gain = mean_of([float(np.mean(differences)) for differences in by_seed.values()])
    interval = gain.interval(tune.confidence)
    names = [unit.name for unit in units]
    return {
        "score": "human-normalised" if has_reference(units[0].game) else "return",
        "metric": tune.metric,
        "frames": tune.evidence_frames or tune.frames,
        "seeds": list(tune.evidence_seeds),
        "configured": {"mean": float(np.mean(configured)), "scores": dict(zip(names, configured, strict=True))},
        "tuned": {"mean": float(np.mean(tuned)), "scores": dict(zip(names, tuned, strict=True))},
        "difference": {
            "mean": float(np.mean(tuned) - np.mean(configured)),
            "interval": None if interval is None else list(interval),
            "confidence": tune.confidence,
            "n": len(by_seed),
        },
        "verdict": VERDICTS[int(shown(gain, tune.confidence))],
    }


def shown(gain: Estimate, confidence: float) -> NDArray[np.int64]:
    """Which sign the interval of a paired difference shows: 1, -1, or 0 where it holds 0 or there is none [...].

    Differences that are all the same leave no spread to judge by. Two independent scores of one distribution differ by
    a given amount with probability 1/4 at most, so n times with 4^-n: that must be rare enough.
    """
    is_rare = 0.25 ** (gain.degrees + 1) <= (1 - confidence) / 2
    least = np.where(gain.is_constant, np.where(is_rare, ROUNDING, np.inf), gain.reach(confidence))
    return np.where(np.abs(gain.value) > least, np.sign(gain.value), 0).astype(np.int64)


def _fresh_parameters(parameters: Parameters, values: Mapping[str, Any], unit: Unit) -> Parameters:
    tune, tree = parameters.tune, parameters.model_dump(mode="json", by_alias=True)
    return unit_parameters(tree, values, unit, tune, frames=tune.evidence_frames or tune.frames)


def _folder(folder: Path, parameters: Parameters, values: Mapping[str, Any], unit: Unit) -> Path:
    """Tells apart what was learned with other settings, for another length, or measured in another way.

    What commit fd8d2c1 left lies under its former label.
    """
    chosen = _fresh_parameters(parameters, values, unit)
    former = folder / _name(parameters, unit, chosen, former_fingerprint(chosen))
    return former if former.exists() else folder / _name(parameters, unit, chosen, chosen.fingerprint())


def _name(parameters: Parameters, unit: Unit, chosen: Parameters, fingerprint: str) -> str:
    tune = parameters.tune
    identity = [fingerprint, chosen.run.total_frames, tune.metric, tune.score, tune.report_period_frames]
    return f"{unit.name}-{short_hash(identity)}"
