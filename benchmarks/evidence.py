"""Takes what a suite has done so far into docs/data/results, for the tables of docs/results.md.

    kedro run --env games; python benchmarks/evidence.py games; python docs/generate

A suite that is not finished gives the members that are. Rows of members that this checkout does not have are kept, so
that one table can grow on several machines; each row tells its commit and its frames.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from meme57.evaluation.suite_scores import COLUMNS, result_rows

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs/data/results"
SCORES = (*COLUMNS, "trained_frames", "trained_seconds", "commit")
HEALTH = {"trace_steps": "health/trace_length_steps", "policy_churn": "health/policy_churn"}
CURVES = ("game", "variant", "seed", "frames", "seconds", "episodes", "return", *HEALTH)


def members(project: Path, suite: str) -> list[dict[str, Any]]:
    """The members of a suite that are done: who they are, scores, commit, and the learning curve of each run."""
    paths = sorted((project / "data/07_model_output" / f"suite-{suite}").glob("*.json"))
    done = [note for path in paths if (note := json.loads(path.read_text()))["state"] == "done"]
    for note in done:
        text = (project / "data/08_reporting" / note["name"] / "learning_curve.csv").read_text()
        note["learning_curve"] = list(csv.DictReader(text.splitlines()))
    return done


def score_rows(done: Iterable[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    """A row for each member and agent."""
    for member in done:
        end = member["learning_curve"][-1]
        told = {"trained_frames": int(float(end["frames"])), "trained_seconds": round(float(end["elapsed_seconds"]))}
        for row in result_rows([member]):
            yield {**row, **told, "commit": member["commit"]}


def curve_rows(done: Iterable[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    """The learning curves: mean training return of the episodes that ended since the row before, and health."""
    for member in done:
        for point in member["learning_curve"]:
            yield {
                **{name: member[name] for name in ("game", "variant", "seed")},
                "frames": int(float(point["frames"])),
                "seconds": round(float(point["elapsed_seconds"])),
                "episodes": int(float(point["episodes/finished"] or 0)),
                "return": _rounded(point["episodes/return"]),
                **{column: _rounded(point[metric]) for column, metric in HEALTH.items()},
            }


def _rounded(cell: str) -> float | str:
    return round(float(cell), 3) if cell else ""


def merge(path: Path, columns: tuple[str, ...], rows: Iterable[dict[str, Any]]) -> None:
    """The rows take the place of those of the same members in the CSV file."""
    before = list(csv.DictReader(path.read_text().splitlines())) if path.exists() else []
    new = list(rows)
    replaced = {_who(row) for row in new}
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted([*new, *(row for row in before if _who(row) not in replaced)], key=_who))


def _who(row: Mapping[str, Any]) -> tuple[str, str, int]:
    return row["game"], row["variant"], int(row["seed"])


def main() -> None:
    """Both files of one suite."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("suite", help="name of the suite: games, ablations, boxing")
    parser.add_argument("--project", type=Path, default=ROOT, help="checkout whose data/ holds the suite")
    options = parser.parse_args()
    done = members(options.project, options.suite)
    merge(RESULTS / f"{options.suite}.csv", SCORES, score_rows(done))
    merge(RESULTS / f"{options.suite}_curves.csv", CURVES, curve_rows(done))
    print(f"{options.suite}: {len(done)} members")


if __name__ == "__main__":
    main()
