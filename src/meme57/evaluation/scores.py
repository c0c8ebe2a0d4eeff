"""What a run's episodes come to: scores with their intervals, protocol and source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meme57.checkpoints.best_explorer import favourite_policy
from meme57.checkpoints.source import check_source, checkpoint_source
from meme57.config import Parameters
from meme57.envs import env_spec
from meme57.evaluation.agents import AGENTS
from meme57.evaluation.protocol import protocol_facts
from meme57.evaluation.reference import has_reference, reference_score
from meme57.evaluation.statistics import summarise_returns

if TYPE_CHECKING:
    import pandas as pd


def make_scores(parameters: Parameters, best: Mapping[str, Any], episodes: pd.DataFrame) -> dict[str, Any]:
    """Means, intervals and human-normalised scores, with the weights and the protocol that made them.

    Args:
        best: the record of the best checkpoint.
        episodes: rows of `play_agents`, with the checkpoint that played.

    Raises:
        CheckpointError: the episodes are of other weights.
    """
    folder = Path(best["folder"])
    source = checkpoint_source(folder)
    check_source(episodes_source(episodes), source, what="the episodes are", maker="evaluate")
    game, evaluate = parameters.env.game, parameters.evaluate
    agents = {
        agent: summarise_returns(
            episodes.loc[episodes["agent"] == agent, "return"].to_numpy(),
            game,
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
        "protocol": protocol_facts(
            env_spec(parameters.env),
            protocol=evaluate.protocol,
            episodes=evaluate.episodes,
            seed=evaluate.seed,
            epsilon=evaluate.epsilon,
            favourite=favourite_policy(folder) if "favourite" in agents else None,
        ),
        "agents": agents,
        "reference": asdict(reference_score(game)) if has_reference(game) else None,
    }


def episodes_source(episodes: pd.DataFrame) -> dict[str, str] | None:
    """The checkpoint that the episodes' table names; None where it names none, or several."""
    columns = ["checkpoint", "sha256"]
    named = episodes[columns].drop_duplicates() if set(columns) <= set(episodes) else episodes[[]]
    return {name: str(named[name].iloc[0]) for name in columns} if named.shape == (1, 2) else None


def score_metrics(agents: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """What MLflow plots and sorts by: `score/teacher_return`, its interval and n, and the human-normalised score."""
    metrics: dict[str, float] = {}
    for agent, summary in agents.items():
        metrics |= {f"score/{agent}_return": summary["mean"], f"score/{agent}_episodes": summary["episodes"]}
        if summary["interval"] is not None:
            low, high = summary["interval"]
            metrics |= {f"score/{agent}_return_low": low, f"score/{agent}_return_high": high}
        if summary["human_normalised"] is not None:
            metrics[f"score/{agent}_human_normalised"] = summary["human_normalised"]["mean"]
    return metrics
