"""The scores of a run's episodes, with their intervals, protocol and source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meme57.checkpoints.best_explorer import bandit_policy
from meme57.checkpoints.source import Source, check_source, checkpoint_source, find_protocol
from meme57.config import Parameters
from meme57.envs import env_spec
from meme57.errors import CheckpointError, IncompatibleCheckpointError
from meme57.evaluation.agents import AGENTS
from meme57.evaluation.protocol import protocol_facts, protocol_text
from meme57.evaluation.protocols import cut_at, evaluation_spec
from meme57.evaluation.reference import has_reference, reference_score
from meme57.evaluation.statistics import summarise_returns

if TYPE_CHECKING:
    import pandas as pd


NO_STUDENT = "none"
"""Stands for the checksum of the student's weights where a run has none."""
REMEDY = "`kedro run --pipelines evaluate` first (same options)"


def make_scores(parameters: Parameters, best: Mapping[str, Any], episodes: pd.DataFrame) -> dict[str, Any]:
    """Compute means, intervals and human-normalised scores, with the weights and the protocol behind them.

    Args:
        best: the record of the best checkpoint.
        episodes: rows of `play_agents`, with the checkpoint that played.

    Raises:
        IncompatibleCheckpointError: the episodes are of other weights, or were played under another protocol.
        CheckpointError: some of the episodes are missing.
    """
    folder = Path(best["folder"])
    source = checkpoint_source(folder)
    check_source(episodes_source(episodes), source, what="the episodes are", maker="evaluate")
    game, evaluate = parameters.env.game, parameters.evaluate
    protocol = run_protocol(parameters)
    _check_protocol(episodes, protocol_text(protocol), what="asked for")
    for agent, count in episodes["agent"].value_counts().items():
        if count != evaluate.episodes:
            raise CheckpointError(f"the episodes' table holds {count} of {agent}, not {evaluate.episodes}: {REMEDY}")
    limit = cut_at(evaluation_spec(env_spec(parameters.env), evaluate.protocol))
    agents = {
        agent: summarise_returns(
            episodes.loc[episodes["agent"] == agent, "return"].to_numpy(),
            game,
            cut_short=0 if limit is None else int(episodes.loc[episodes["agent"] == agent, "truncated"].sum()),
            confidence=evaluate.confidence,
            repetitions=evaluate.bootstrap_repetitions,
            seed=evaluate.seed,
        )
        for agent in AGENTS
        if (episodes["agent"] == agent).any()
    }
    return {
        "run": parameters.run_name,
        "game": game,
        "source": source,
        "student_sha256": str(episodes["student_sha256"].iloc[0]),
        "frames": best["frames"],
        "confidence": evaluate.confidence,
        "protocol": {**protocol, "bandit_policy": bandit_policy(folder) if "bandit_policy" in agents else None},
        "cut_at": limit,
        "agents": agents,
        "reference": asdict(reference_score(game)) if has_reference(game) else None,
    }


def run_protocol(parameters: Parameters) -> dict[str, Any]:
    """Describe the protocol under which a run is evaluated."""
    evaluate = parameters.evaluate
    return protocol_facts(
        env_spec(parameters.env),
        protocol=evaluate.protocol,
        episodes=evaluate.episodes,
        seed=evaluate.seed,
        epsilon=evaluate.epsilon,
        temperature=evaluate.temperature,
    )


def _check_protocol(episodes: pd.DataFrame, expected: str, *, what: str) -> None:
    """Refuse episodes that were not played under the protocol `expected` (a `protocol_text`)."""
    found = sorted(map(str, episodes["protocol"].unique())) if "protocol" in episodes else ["an unnamed protocol"]
    if found != [expected]:
        raise IncompatibleCheckpointError(
            f"the episodes were played under {', '.join(found)}, {what} is {expected}: {REMEDY}"
        )


def check_episodes(episodes: pd.DataFrame, scores: Mapping[str, Any]) -> None:
    """Refuse episodes if the scores were not computed from them.

    A table of an older version names no protocol; then only weights, student and numbers of episodes are compared.

    Raises:
        IncompatibleCheckpointError: one line with the command that helps.
    """
    counts = {agent: int(n) for agent, n in episodes["agent"].value_counts().items()}
    scored = {agent: summary["episodes"] for agent, summary in scores["agents"].items()}
    student = episodes["student_sha256"].unique().tolist() if "student_sha256" in episodes else []
    expected = (scores.get("source"), [scores.get("student_sha256")], scored)
    if (episodes_source(episodes), student, counts) != expected:
        raise IncompatibleCheckpointError(f"the episodes are not those of the scores: {REMEDY}")
    if "protocol" in episodes:
        _check_protocol(episodes, protocol_text(scores["protocol"]), what="that of the scores")


def check_scores(scores: Mapping[str, Any], *, run_name: str, source: Source, student_sha256: object) -> None:
    """Refuse scores of another run, of other weights, or of another student.

    Raises:
        IncompatibleCheckpointError: one line with the command that helps.
    """
    check_source(scores.get("source"), source, what="the scores are", maker="evaluate")
    if scores["run"] != run_name:
        raise IncompatibleCheckpointError(f"the scores are of run {scores['run']!r}, this is {run_name!r}: {REMEDY}")
    if scores.get("student_sha256") != student_sha256:
        raise IncompatibleCheckpointError(f"the scores are of another student: {REMEDY}")


def check_film(film: bytes, scores: Mapping[str, Any]) -> None:
    """Refuse a film under another protocol than the scores'; a film of an older version names none, and passes.

    Raises:
        IncompatibleCheckpointError: one line with the command that helps.
    """
    found, expected = find_protocol(film), scores["protocol"]["name"]
    if found not in (None, expected):
        raise IncompatibleCheckpointError(f"the film shows protocol {found}, the scores are of {expected}: {REMEDY}")


def episodes_source(episodes: pd.DataFrame) -> dict[str, str] | None:
    """Return the checkpoint that the episodes' table names; None if it names none, or several."""
    columns = ["checkpoint", "sha256"]
    named = episodes[columns].drop_duplicates() if set(columns) <= set(episodes) else episodes[[]]
    return {name: str(named[name].iloc[0]) for name in columns} if named.shape == (1, 2) else None


def score_metrics(agents: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Collect the metrics for MLflow: `score/teacher_return`, its interval and n, and the human-normalised score."""
    metrics: dict[str, float] = {}
    for agent, summary in agents.items():
        metrics |= {f"score/{agent}_return": summary["mean"], f"score/{agent}_episodes": summary["episodes"]}
        if summary["interval"] is not None:
            low, high = summary["interval"]
            metrics |= {f"score/{agent}_return_low": low, f"score/{agent}_return_high": high}
        if summary["human_normalised"] is not None:
            metrics[f"score/{agent}_human_normalised"] = summary["human_normalised"]["mean"]
    return metrics
