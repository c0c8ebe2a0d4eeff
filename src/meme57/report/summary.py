"""The tables that a run and a study print at their end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from meme57.report.style import agent_label


def print_summary(
    scores: Mapping[str, Any], model_versions: Mapping[str, Any], *, report: Path, console: Console | None = None
) -> None:
    """Print random play, human, teacher, student and the registered versions; then what to open next."""
    console = console or Console()
    console.print(summary_table(scores, model_versions))
    for line in (cut_short_line(scores), one_value_line(scores)):
        if line is not None:
            console.print(line, style="dim", highlight=False)
    for agent, version in model_versions.items():
        console.print(f"{agent}: {version['reason']}", style="dim", highlight=False)
    console.print(f"\nOpen the report:   {report}", soft_wrap=True, highlight=False)
    console.print("Browse the runs:   meme57 ui    (MLflow on this machine)", highlight=False)


def print_study_summary(
    record: Mapping[str, Any], evidence: Mapping[str, Any] | None, *, page: Path, console: Console | None = None
) -> None:
    """Print the best trial, both sides on fresh seeds and what their difference shows; then what to type next.

    Args:
        evidence: of `tuning.evidence.compare`; None without fresh seeds.
    """
    console = console or Console()
    console.print(study_table(record, evidence))
    if (cut := cut_study_line(record)) is not None:
        console.print(cut, style="dim", highlight=False)
    if evidence is None:
        console.print(
            "Not compared on fresh seeds: the best of many noisy trials scores too high. `tune: {evidence_seeds: [101, "
            "102]}` in conf/local/parameters.yml compares.",
            style="dim", highlight=False,
        )  # fmt: skip
    else:
        console.print(f"tuned beside configured: {evidence['verdict']}", highlight=False)
    if "trust" in record:
        console.print(f"model of the scores: {record['trust']['verdict']}", highlight=False)
    console.print(f"\nOpen the page:     {page}", soft_wrap=True, highlight=False)
    console.print(f"Train with it:     kedro run --env tuned-{record['study']}", soft_wrap=True, highlight=False)


def study_table(record: Mapping[str, Any], evidence: Mapping[str, Any] | None) -> Table:
    """Build the table: best trial, configured, tuned, difference."""
    best, trials = record["best"], len(record["trials"])
    title = f"Study {record['study']}: {trials} trials, {record['frames']:,} frames"
    caption = f"score: {record['score']}, {record['metric']}"
    table = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    for name, justify in (("", "left"), ("score", "right"), ("interval", "right"), ("n", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    table.add_row(f"best trial ({best['trial']}), on its own seeds", f"{best['score']:.4f}", "", "")
    if evidence is None:
        return table
    n = str(len(evidence["seeds"]))
    for side in ("configured", "tuned"):
        table.add_row(f"{side}, on fresh seeds", f"{evidence[side]['mean']:.4f}", "", n)
    difference = evidence["difference"]
    interval = "-"
    if difference["interval"] is not None:
        low, high = difference["interval"]
        interval = f"{low:.4f} to {high:.4f} ({100 * difference['confidence']:g} %)"
    table.add_row("difference", f"{difference['mean']:.4f}", interval, n)
    return table


def cut_study_line(record: Mapping[str, Any]) -> str | None:
    """Say that a study's games were cut, so that its score is the return; None if it is not for that reason."""
    if record.get("cut_at") is None:
        return None
    return (
        f"Games were cut at {record['cut_at']:,} frames. Published scores are of whole games, so the score is the "
        "return as it stands."
    )


def summary_table(scores: Mapping[str, Any], model_versions: Mapping[str, Any]) -> Table:
    """Build the table, one row per agent."""
    confidence = f"{100 * scores['confidence']:g} %"
    title = f"{scores['game']} after {scores['frames']:,} frames ({scores['run']})"
    table = Table(title=title, title_justify="left", caption=protocol_line(scores), caption_justify="left")
    for name, justify in (
        ("", "left"),
        ("return", "right"),
        (confidence, "right"),
        ("n", "right"),
        ("human", "right"),
        ("model", "left"),
    ):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    agents = scores["agents"]
    table.add_row("random", *_numbers(agents["random"]), "")
    if (reference := reference_of_scores(scores)) is not None:
        table.add_row("human", f"{reference['human']:,.1f}", "published", "", "100 %", "")
    for agent in ("teacher", "bandit_policy", "student"):
        if agent not in agents:
            continue
        table.add_row(agent_label(agent), *_numbers(agents[agent]), _version(model_versions.get(agent)))
    return table


def reference_of_scores(scores: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the published scores that explain a percentage of `scores`; None if no agent has a percentage."""
    is_needed = any(summary["human_normalised"] is not None for summary in scores["agents"].values())
    return scores.get("reference") if is_needed else None


def protocol_line(scores: Mapping[str, Any]) -> str | None:
    """Name the protocol, where the result departs from it, and which settings differ from training.

    None for scores of older versions, which had only one protocol.
    """
    protocol = scores.get("protocol", {})
    if "protocol" not in protocol:
        return None
    line = f"protocol {protocol['protocol']}"
    if protocol["departures"]:
        line += f", but {'; '.join(protocol['departures'])}"
    changed = [
        f"{key.replace('_', ' ')} {values['evaluation']} (training {values['training']})"
        for key, values in protocol["changed_since_training"].items()
    ]
    return f"{line}; different from training: {', '.join(changed)}" if changed else line


def cut_short_line(scores: Mapping[str, Any]) -> str | None:
    """Say whose games were cut before their end, and what their returns are therefore not; None if nobody's were."""
    cut = {agent: summary for agent, summary in scores["agents"].items() if summary.get("cut_short")}
    if not cut:
        return None
    who = ", ".join(f"{agent_label(agent)} {s['cut_short']} of {s['episodes']}" for agent, s in cut.items())
    return (
        f"Games were cut at {scores['cut_at']:,} frames ({who}). Published scores are of whole games, so these returns "
        "have no human-normalised score, and no policy becomes champion by them."
    )


def one_value_line(scores: Mapping[str, Any]) -> str | None:
    """Name the agents whose episodes all had the same return, and what that does not mean; None if there are none."""
    agents = scores["agents"]
    constant = [agent for agent, summary in agents.items() if summary["episodes"] > 1 and not summary["std"]]
    if not constant:
        return None
    names = ", ".join(map(agent_label, constant))
    return (
        f"All episodes had the same return: {names}. An interval of width 0 says only that, and nothing about other "
        "games or other seeds."
    )


def _numbers(summary: Mapping[str, Any]) -> tuple[str, str, str, str]:
    normalised = summary["human_normalised"]
    absent = "-" if summary.get("cut_short") else "no reference"
    share = f"{100 * normalised['mean']:.1f} %" if normalised else absent
    interval = "-" if summary["interval"] is None else "{:,.1f} to {:,.1f}".format(*summary["interval"])
    return f"{summary['mean']:,.1f}", interval, str(summary["episodes"]), share


def _version(registration: Mapping[str, Any] | None) -> str:
    if registration is None:
        return ""
    alias = "champion" if registration["champion"] else "challenger"
    return f"{registration['model']} v{registration['version']} @{alias}"
