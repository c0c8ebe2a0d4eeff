"""What matters of a run, study or suite, on its parent: metrics that MLflow shows first, and a description."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from meme57.files import read_json
from meme57.tracking.overview import RunOverview, overview, run_names

GROUP = "0 results"
"""MLflow sorts groups of metrics by name."""
CURVE = {"episodes/return": "training_return", "evaluation/return": "evaluation_return"}
"""Column of the learning curve -> its name in the group."""
AGENTS = ("teacher", "student")
SIDES = ("configured", "tuned")
DESCRIPTION = "mlflow.note.content"


def curve_results(row: Mapping[str, object], *, frames: int) -> dict[str, object]:
    """Return what matters of a row of the learning curve."""
    shown = {f"{GROUP}/{name}": row[column] for column, name in CURVE.items() if column in row}
    return {**shown, f"{GROUP}/frames": frames}


def score_results(agents: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return what matters of the scores."""
    results: dict[str, float] = {}
    for agent in AGENTS:
        if agent in agents:
            results[f"{GROUP}/{agent}_return"] = agents[agent]["mean"]
            if (human := agents[agent]["human_normalised"]) is not None:
                results[f"{GROUP}/{agent}_human_normalised"] = human["mean"]
    return results


def study_results(record: Mapping[str, Any], evidence: Mapping[str, Any] | None) -> dict[str, float]:
    """Return what matters of a study: the best trial's score, and both sides on fresh seeds, if they were compared."""
    results = {f"{GROUP}/best_score": record["best"]["score"], f"{GROUP}/frames": record["frames"]}
    if evidence:
        results |= {f"{GROUP}/{side}_score": evidence[side]["mean"] for side in SIDES}
        results[f"{GROUP}/difference"] = evidence["difference"]["mean"]
    return results


def suite_results(record: Mapping[str, Any], scores: Mapping[str, Any]) -> dict[str, float]:
    """Return what matters of a suite: how many runs are done, and the IQM of each variant that has one."""
    done: dict[str, float] = {f"{GROUP}/runs_done": _num_done(record)}
    return done | {f"{GROUP}/{variant}_iqm": found["value"] for variant, _, found in _iqms(scores)}


def describe(project: Path, kind: Literal["run", "study", "suite"], name: str, link: str | None) -> str:
    """Describe a run, a study or a suite, as Markdown.

    Args:
        link: the address of its page in MLflow; None if it has none there.
    """
    folder = project / "data" / "08_reporting" / name
    page = folder / "report.html"
    run = overview(project, name) if kind == "run" and name in run_names(project) else None
    lines = [] if run is None else [_first_line(run)]
    if kind == "study":
        lines = _study_lines(folder / "study.json", folder / "evidence.json")
    if kind == "suite":
        lines = _suite_lines(_tree(folder / "suite.json"), _tree(folder / "scores.json"))
    if link is not None:  # above the table, since MLflow folds a long description
        lines.append(f"[Open the page]({link})")
    if page.is_file():
        lines.append(f"On disk: `{page.relative_to(project)}`")
    return "\n\n".join([*lines, *([_scores_table(run)] if run is not None and run.scores else [])])


def page_link(experiment_id: str, run_id: str) -> str:
    """Return the address of a run's page, within MLflow's own pages."""
    return f"#/experiments/{experiment_id}/runs/{run_id}/artifacts/report.html"


def known_link(description: str) -> str | None:
    """Find the page's address in an earlier description."""
    _, found, rest = description.partition("[Open the page](")
    return rest.partition(")")[0] if found else None


def _first_line(run: RunOverview) -> str:
    total = "" if run.total_frames is None else f" of {run.total_frames:,}"
    preset = "" if run.preset is None else f", preset {run.preset}"
    return f"**{run.game}**, seed {run.seed}{preset}: {run.frames:,}{total} frames, {run.state}."


def _study_lines(record_path: Path, evidence_path: Path) -> list[str]:
    """Return a line of the best trial, and one of the comparison unless an earlier best trial was compared."""
    record, evidence = _tree(record_path), _tree(evidence_path)
    if not record:
        return []
    best = record["best"]
    lines = [
        f"**Study {record['study']}**: best of {len(record['trials'])} trials {best['score']:.4f} "
        f"({record['score']}, {record['metric']}), {record['frames']:,} frames."
    ]
    if evidence and evidence_path.stat().st_mtime >= record_path.stat().st_mtime:
        means = ", ".join(f"{side} {evidence[side]['mean']:.4f}" for side in SIDES)
        lines.append(f"On fresh seeds: {means}, n {len(evidence['seeds'])}; {evidence['verdict']}.")
    return lines


def _suite_lines(record: Mapping[str, Any], scores: Mapping[str, Any]) -> list[str]:
    """Return a line of the runs that are done, and one of each variant's score; none if no start ended."""
    if not record:
        return []
    lines = [f"**Suite {record['suite']}**: {_num_done(record)} of {len(record['members'])} runs done."]
    for variant, runs, found in _iqms(scores):
        ends = found["interval"]
        interval = "" if ends is None else " ({:.1f} to {:.1f} %)".format(*(100 * end for end in ends))
        lines.append(f"{variant}: IQM {100 * found['value']:.1f} %{interval}, human-normalised, n {runs} runs.")
    return lines


def _num_done(record: Mapping[str, Any]) -> int:
    return sum(member["state"] == "done" for member in record["members"])


def _iqms(scores: Mapping[str, Any]) -> Iterator[tuple[str, int, Mapping[str, Any]]]:
    """Yield variant, number of runs and IQM (value, interval) of the teachers; none without normalised scores."""
    for variant, agents in scores.get("aggregates", {}).items():
        teacher = agents.get("teacher", {})
        if "iqm" in teacher.get("statistics", {}):
            yield variant, teacher["runs"], teacher["statistics"]["iqm"]


def _tree(path: Path) -> dict[str, Any]:
    """Read a file of results; empty if it is not written yet."""
    tree: dict[str, Any] = read_json(path) if path.is_file() else {}
    return tree


def _scores_table(run: RunOverview) -> str:
    rows = ["| agent | return | interval | n | human |", "|---|---:|---:|---:|---:|"]
    for agent, score in run.scores.items():
        interval = "-" if score.low is None else f"{score.low:,.1f} to {score.high:,.1f}"
        human = "-" if score.human_normalised is None else f"{100 * score.human_normalised:.1f} %"
        rows.append(f"| {agent.replace('_', ' ')} | {score.mean:,.1f} | {interval} | {score.episodes} | {human} |")
    return "\n".join(rows)
