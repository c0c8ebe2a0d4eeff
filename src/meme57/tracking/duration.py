"""How long learning will take, from what runs of the same settings took on this machine; nothing is guessed."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from meme57.config import Parameters
from meme57.config.tree import plain, without
from meme57.errors import Meme57Error
from meme57.tracking.overview import configuration, read_curve, run_names


def learning_seconds(project: Path, parameters: Parameters) -> float | None:
    """Estimate the seconds until the run has learned `run.total_frames`; None if nothing comparable was measured.

    Comparable are the run itself and runs that differ in their seed alone. The speed is the median of theirs.
    """
    mine = _settings(parameters.configuration())
    speeds, done = [], 0.0
    for name in run_names(project):
        try:
            if _settings(configuration(project, name)) != mine:
                continue
            last = next((row for row in reversed(read_curve(project, name)) if row.get("elapsed_seconds")), None)
        except Meme57Error:
            continue  # a damaged run measures nothing
        if last is not None and last.get("frames"):
            speeds.append(last["frames"] / last["elapsed_seconds"])
            done = last["frames"] if name == parameters.run_name else done
    left = parameters.run.total_frames - done
    return left / median(speeds) if speeds and left > 0 else None


def in_words(seconds: float) -> str:
    """Write `about 40 s`, `about 9 min`, `about 3.5 h` or `about 2.1 days`."""
    for unit, length, least in (("days", 86_400.0, 48 * 3_600), ("h", 3_600.0, 5_400), ("min", 60.0, 90)):
        if seconds >= least:
            return f"about {seconds / length:,.{0 if unit == 'min' else 1}f} {unit}"
    return f"about {max(1, round(seconds))} s"


def _settings(tree: dict[str, object]) -> dict[str, object]:
    return without(plain(tree), ("seed",))
