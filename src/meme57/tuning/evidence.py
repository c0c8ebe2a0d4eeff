"""Compare tuned with configured values on fresh seeds, because the best of many noisy trials is biased upwards."""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meme57.config import Parameters
from meme57.config.identity import former_fingerprint
from meme57.config.labels import short_hash
from meme57.errors import CheckpointError, Interrupted, RunConflictError, TuningError
from meme57.evaluation.reference import has_reference
from meme57.files import read_json, write_json
from meme57.intervals import ROUNDING, Estimate, mean_of
from meme57.lock import hold
from meme57.stopping import stop_requested
from meme57.tracking.results import SIDES
from meme57.tuning.learning_run import RETURN, Health, LearningRun, Unit, unit_parameters
from meme57.tuning.workers import spread

log = logging.getLogger(__name__)

SCORE = "score.json"
POLL_SECONDS = 1.0
VERDICTS = {1: "better", -1: "worse", 0: "no difference shown"}


@dataclass(frozen=True)
class FreshRun:
    """One learning run of the comparison, as plain values that can go to another process."""

    parameters: Parameters
    values: Mapping[str, Any]
    unit: Unit
    folder: Path
    scale: str


def compare(
    parameters: Parameters,
    values: Mapping[str, Any],
    folder: Path,
    stop: Callable[[], bool],
    progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    scale: str,
) -> dict[str, Any] | None:
    """Learn both sides on `tune.evidence_seeds`; scores that `folder` has already are not learned again.

    Args:
        progress: is given the learning runs that are done, and all.
        scale: of the study's scores (`study_scale`).

    Returns values for JSON: the scores of each side, and the paired mean difference with its interval over seeds. None
    if no seeds are configured.
    """
    tune = parameters.tune
    if not tune.evidence_seeds:
        return None
    units = [Unit(game, seed) for game in parameters.tune_games for seed in tune.evidence_seeds]
    runs = {
        side: [
            FreshRun(parameters, side_values, unit, _folder(folder, parameters, side_values, unit, scale), scale)
            for unit in units
        ]
        for side, side_values in zip(SIDES, ({}, dict(values)), strict=True)
    }
    unique = {run.folder: run for side in SIDES for run in runs[side]}  # the best values may be the configured ones

    def watched_stop() -> bool:
        progress(sum((folder / SCORE).exists() for folder in unique), len(unique))
        return stop()

    scores = dict(zip(unique, spread(learn_fresh, list(unique.values()), parameters, watched_stop), strict=True))
    progress(len(unique), len(unique))
    configured, tuned = ([scores[run.folder] for run in runs[side]] for side in SIDES)
    return summarise_evidence(parameters, units, configured, tuned, scale=scale)


def learn_fresh(run: FreshRun) -> float:
    """Run one learning run and return its score; the score is kept, its checkpoints are deleted.

    If the same command learns it in another terminal, wait for its score, or take over if that terminal goes away.
    """
    while True:
        with suppress(RunConflictError), hold(run.folder):
            kept = _kept_score(run.folder / SCORE)
            return _learn(run) if kept is None else kept
        if stop_requested():
            raise Interrupted("stopped while comparing: the same command resumes")
        time.sleep(POLL_SECONDS)


def _learn(run: FreshRun) -> float:
    fresh = _fresh_parameters(run.parameters, run.values, run.unit)
    frames = fresh.run.total_frames
    learning = LearningRun(
        fresh, run.folder, run.parameters.tune, scale=run.scale, stop=stop_requested, health=Health()
    )
    try:
        learning.advance(frames)
    finally:
        learning.close()
    score = learning.value()
    if score is None:
        raise TuningError(f"no episode of {run.unit.game} ended within {frames} frames: raise tune.evidence_frames")
    write_json(run.folder / SCORE, score)
    shutil.rmtree(run.folder / "checkpoints", ignore_errors=True)
    return score


def _kept_score(path: Path) -> float | None:
    """Read a score that was kept; None if there is none, or with a warning if the file is damaged."""
    if not path.exists():
        return None
    try:
        score = read_json(path)
    except CheckpointError as error:
        log.warning("%s: it is learned again", error)
        return None
    if isinstance(score, int | float) and math.isfinite(score):
        return float(score)
    log.warning("%s is damaged, it contains no number: it is learned again", path)
    return None


def summarise_evidence(
    parameters: Parameters, units: list[Unit], configured: list[float], tuned: list[float], *, scale: str
) -> dict[str, Any]:
    """Summarise the scores of both sides, the interval of their paired difference, and what it shows.

    A seed's difference is its mean over games. Seeds are independent, so the interval is Student's over seeds, for any
    scales of the games.
    """
    tune = parameters.tune
    by_seed: dict[int, list[float]] = {}
    for unit, before, after in zip(units, configured, tuned, strict=True):
        by_seed.setdefault(unit.seed, []).append(after - before)
    gain = mean_of([float(np.mean(differences)) for differences in by_seed.values()])
    interval = gain.interval(tune.confidence)
    names = [unit.name for unit in units]
    return {
        "score": scale,
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
    """Return the sign that a paired difference's interval shows: 1, -1, or 0 if it contains 0 or is missing [...].

    Equal differences have no spread. Two independent scores of one distribution differ by a given amount with
    probability at most 1/4, and n times with at most 4^-n. So equal differences count only if 4^-n is small enough.
    """
    is_rare = 0.25 ** (gain.degrees + 1) <= (1 - confidence) / 2
    least = np.where(gain.is_constant, np.where(is_rare, ROUNDING, np.inf), gain.reach(confidence))
    return np.where(np.abs(gain.value) > least, np.sign(gain.value), 0).astype(np.int64)


def _fresh_parameters(parameters: Parameters, values: Mapping[str, Any], unit: Unit) -> Parameters:
    tune, tree = parameters.tune, parameters.model_dump(mode="json", by_alias=True)
    return unit_parameters(tree, values, unit, tune, frames=tune.evidence_frames or tune.frames)


def _folder(folder: Path, parameters: Parameters, values: Mapping[str, Any], unit: Unit, scale: str) -> Path:
    """Choose a folder that depends on settings, length and measure, so that different runs do not share one.

    Scores of commit fd8d2c1 lie under its former label.
    """
    fresh = _fresh_parameters(parameters, values, unit)
    former = folder / _name(parameters, unit, fresh, former_fingerprint(fresh), scale)
    return former if former.exists() else folder / _name(parameters, unit, fresh, fresh.fingerprint(), scale)


def _name(parameters: Parameters, unit: Unit, fresh: Parameters, fingerprint: str, scale: str) -> str:
    tune = parameters.tune
    identity = [fingerprint, fresh.run.total_frames, tune.metric, tune.score, tune.report_period_frames]
    if tune.score == "evaluation":
        identity.append(tune.checkpoint_period_frames)  # evaluations happen at checkpoints
    if scale == RETURN and has_reference(unit.game):  # an older study may have left normalised scores of cut games
        identity.append(scale)
    return f"{unit.name}-{short_hash(identity)}"
