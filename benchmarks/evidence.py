"""Copies a suite's results so far into experiments/<name>/data, for the tables of docs/results and docs/notebook.

    kedro run --env games; python benchmarks/evidence.py games; python docs/generate

An unfinished suite gives its finished members. Rows of members that this checkout does not have are kept, so that one
table can grow on several machines; each row has its commit and its frames. A suite named `games_sticky` belongs to the
experiment `games`.

    python benchmarks/evidence.py boxing --choice no_bandit "bandit.enabled=false"

instead adds the members of one variant to what was tried (docs/data/results), named by the settings as given.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from meme57.config.renames import with_todays_agents
from meme57.evaluation.suite_scores import COLUMNS, result_rows
from rows import read_rows

ROOT = Path(__file__).parents[1]
EXPERIMENTS, TRIES = ROOT / "experiments", ROOT / "docs/data/results/choices.csv"
SCORES = (*COLUMNS, "trained_frames", "trained_seconds", "commit")
HEALTH = {"trace_steps": "health/trace_length_steps", "policy_churn": "health/policy_churn"}
MEMBER = ("game", "variant", "seed")
CURVES = (*MEMBER, "frames", "seconds", "episodes", "return", *HEALTH, "greedy_return")
TRIED = ("game", "settings", "seed", "commit")
CHOICES = (*TRIED, "frames", "seconds", "episodes", "return", "episodes_exploit", "return_exploit")
STRETCH = 250_000


def members(project: Path, suite: str) -> list[dict[str, Any]]:
    """Load the finished members of a suite: identity, scores, commit, and the learning curve of each run."""
    paths = sorted((project / "data/07_model_output" / f"suite-{suite}").glob("*.json"))
    done = [note for path in paths if (note := with_todays_agents(json.loads(path.read_text())))["state"] == "done"]
    for note in done:
        text = (project / "data/08_reporting" / note["name"] / "learning_curve.csv").read_text()
        note["learning_curve"] = list(csv.DictReader(text.splitlines()))
    return done


def score_rows(done: Iterable[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    """Yield a row for each member and agent."""
    for member in done:
        end = member["learning_curve"][-1]
        cost = {"trained_frames": int(float(end["frames"])), "trained_seconds": round(float(end["elapsed_seconds"]))}
        for row in result_rows([member]):
            yield {**row, **cost, "commit": member["commit"]}


def curve_rows(done: Iterable[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    """Yield the learning curves: mean training return of the episodes that ended since the last row, and health."""
    for member in done:
        for point in member["learning_curve"]:
            yield {
                **{name: member[name] for name in MEMBER},
                "frames": int(float(point["frames"])),
                "seconds": round(float(point["elapsed_seconds"])),
                "episodes": int(float(point["episodes/finished"] or 0)),
                "return": _rounded(point["episodes/return"]),
                **{column: _rounded(point[metric]) for column, metric in HEALTH.items()},
                "greedy_return": _rounded(point.get("evaluation/return", "")),
            }


def _rounded(cell: str) -> float | str:
    return round(float(cell), 3) if cell else ""


def choice_rows(done: Iterable[Mapping[str, Any]], settings: str) -> Iterable[dict[str, Any]]:
    """Yield, for each finished stretch of frames, the mean training return of all episodes, and of policy 0's."""
    for member in done:
        curve = member["learning_curve"]
        for end in range(STRETCH, int(float(curve[-1]["frames"])) + 1, STRETCH):
            mine = [point for point in curve if end - STRETCH < float(point["frames"]) <= end]
            episodes, mean = _weighted(mine, "episodes/return", "episodes/finished")
            exploiting, exploit = _weighted(mine, "episodes/return_exploit", "policy_episodes/0")
            if episodes:
                yield {
                    **{name: member[name] for name in ("game", "seed", "commit")},
                    "settings": settings,
                    "frames": end,
                    "seconds": round(float(mine[-1]["elapsed_seconds"])),
                    "episodes": episodes,
                    "return": f"{mean:.2f}",
                    "episodes_exploit": exploiting,
                    "return_exploit": f"{exploit:.2f}" if exploiting else "",
                }


def _weighted(points: Iterable[Mapping[str, str]], value: str, weight: str) -> tuple[int, float]:
    """Return the sum of the weights, and the weighted mean (0 if there are no weights)."""
    pairs = [(float(point[value]), int(float(point[weight]))) for point in points if point[value] and point[weight]]
    total = sum(n for _, n in pairs)
    return total, sum(x * n for x, n in pairs) / max(total, 1)


def merge(path: Path, columns: Sequence[str], key: Sequence[str], rows: Iterable[dict[str, Any]]) -> None:
    """Replace the rows with the same key in the CSV file, or add them; sort by member, if that is the key."""
    before = read_rows(path)
    new = list(rows)
    replaced = {_who(row, key) for row in new}
    merged = [*(row for row in before if _who(row, key) not in replaced), *new]
    if key == MEMBER:
        merged.sort(key=lambda row: (row["game"], row["variant"], int(row["seed"])))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(merged)


def _who(row: Mapping[str, Any], key: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in key)


def main() -> None:
    """Write both files of one suite, or add lines to what was tried."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("suite", help="name of the suite: games, ablations, boxing")
    parser.add_argument("--project", type=Path, default=ROOT, help="checkout whose data/ holds the suite")
    parser.add_argument(
        "--choice", nargs=2, metavar=("VARIANT", "SETTINGS"), help="into choices.csv, under these settings"
    )
    options = parser.parse_args()
    done = members(options.project, options.suite)
    if options.choice:
        variant, settings = options.choice
        done = [member for member in done if member["variant"] == variant]
        merge(TRIES, CHOICES, TRIED, choice_rows(done, settings))
    else:
        data = EXPERIMENTS / options.suite.partition("_")[0] / "data"
        merge(data / f"{options.suite}.csv", SCORES, MEMBER, score_rows(done))
        merge(data / f"{options.suite}_curves.csv", CURVES, MEMBER, curve_rows(done))
    print(f"{options.suite}: {len(done)} members")


if __name__ == "__main__":
    main()
