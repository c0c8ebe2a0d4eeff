"""Nodes of `evaluate`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meme57.config import Parameters, parse_parameters
from meme57.errors import StorageError, VideoError
from meme57.stopping import stop_requested

if TYPE_CHECKING:
    import pandas as pd

    from meme57.envs import EnvSpec
    from meme57.evaluation.protocol import Episode
    from meme57.learning.policies import Policy

Progress = Callable[[int, int], None]
AGENTS = ("random", "teacher", "favourite", "student")
"""Random play, policy 0 of the checkpoint, the policy its bandit preferred, and the distilled student."""
SECONDS_OF_EMULATION = 60
"""The console draws 60 frames a second."""

log = logging.getLogger(__name__)


def play(
    parameters: dict[str, Any], checkpoints: dict[str, Any], student: dict[str, Any], student_folder: Path
) -> pd.DataFrame:
    """Whole episodes of each agent, on the same evaluation seeds, and which weights played.

    Raises:
        CheckpointError: the student was distilled from another checkpoint.
    """
    import pandas as pd

    from meme57.checkpoints.source import checkpoint_source
    from meme57.envs import env_spec
    from meme57.evaluation.protocols import evaluation_spec
    from meme57.learning.policies import check_student
    from meme57.learning.progress import counter

    chosen = parse_parameters(parameters)
    spec = evaluation_spec(env_spec(chosen.env), chosen.evaluate.protocol)
    teacher_folder = Path(checkpoints["best"]["folder"])
    source = checkpoint_source(teacher_folder)
    check_student(student, student_folder, source)
    makers = policy_makers(chosen, spec, teacher_folder, student_folder)
    rows: list[dict[str, Any]] = []
    for agent, make_policy in makers.items():
        if make_policy is None:  # the favourite is policy 0 itself: the same episodes
            rows += [{**row, "agent": agent} for row in rows if row["agent"] == "teacher"]
            continue
        with counter(f"evaluate {agent}", "episodes") as progress:
            if chosen.actors.pool == "ray":
                folder = student_folder if agent == "student" else teacher_folder
                episodes = _play_on_ray(chosen, spec, agent, folder, progress)
            else:
                episodes = _play_here(chosen, spec, agent, make_policy, progress)
        for number, episode in enumerate(episodes):
            rows.append(
                {
                    "agent": agent,
                    "episode": number,
                    "return": episode.extrinsic_return,
                    "length_steps": episode.num_steps,
                    "seed": episode.seed,
                    "truncated": episode.truncated,
                }
            )
    return pd.DataFrame(rows).assign(**source, student_sha256=student["weights_sha256"])


def _play_here(
    chosen: Parameters, spec: EnvSpec, agent: str, make_policy: Callable[[int], Policy], progress: Progress
) -> list[Episode]:
    from meme57.evaluation.protocol import play_episodes

    return play_episodes(
        make_policy,
        spec,
        episodes=chosen.evaluate.episodes,
        num_envs=chosen.evaluate.num_envs,
        seed=chosen.evaluate.seed,
        epsilon=_epsilon(chosen, agent),
        stop=stop_requested,
        progress=progress,
    )


def _play_on_ray(chosen: Parameters, spec: EnvSpec, agent: str, folder: Path, progress: Progress) -> list[Episode]:
    from meme57.checkpoints.best_explorer import favourite_policy
    from meme57.evaluation.shares import Share, play_shares, read_files

    whole = Share(
        agent=agent,
        files=read_files(agent, folder),
        spec=spec,
        seed=chosen.evaluate.seed,
        epsilon=_epsilon(chosen, agent),
        first_env=0,
        num_envs=chosen.evaluate.num_envs,
        episodes=chosen.evaluate.episodes,
        policy=(favourite_policy(folder) or 0) if agent == "favourite" else 0,
    )
    return play_shares(whole, workers=chosen.ray.workers, stop=stop_requested, progress=progress)


def _epsilon(chosen: Parameters, agent: str) -> float:
    """Random play is not made more random."""
    return 0.0 if agent == "random" else chosen.evaluate.epsilon


def policy_makers(
    parameters: Parameters, spec: EnvSpec, teacher_folder: Path, student_folder: Path
) -> dict[str, Callable[[int], Policy] | None]:
    """Number of environments -> policy, for each agent; None for a favourite that is policy 0."""
    import torch

    from meme57.blueprint import find_device
    from meme57.checkpoints.best_explorer import favourite_policy
    from meme57.evaluation.protocol import RandomPolicy
    from meme57.learning.policies import GreedyStudent, Teacher, load_student

    torch.set_num_threads(parameters.learner.torch_threads)
    teacher, student = Teacher.load(teacher_folder), load_student(student_folder)
    teacher.to(find_device())
    makers: dict[str, Callable[[int], Policy] | None] = {
        "random": lambda num_envs: RandomPolicy(num_envs, spec.num_actions, seed=parameters.evaluate.seed),
        "teacher": teacher.player,
        "student": lambda num_envs: GreedyStudent(student, num_envs),
    }
    if parameters.evaluate.favourite and (j := favourite_policy(teacher_folder)) is not None:
        makers["favourite"] = partial(teacher.player, policy=j) if j else None
    return {agent: makers[agent] for agent in AGENTS if agent in makers}


def score(parameters: dict[str, Any], checkpoints: dict[str, Any], episodes: pd.DataFrame) -> dict[str, Any]:
    """Means, intervals and human-normalised scores, with the weights and the protocol that made them.

    Raises:
        CheckpointError: the episodes are of other weights.
    """
    from dataclasses import asdict

    from meme57.checkpoints.best_explorer import favourite_policy
    from meme57.checkpoints.source import check_source, checkpoint_source
    from meme57.envs import env_spec
    from meme57.evaluation.protocol import protocol_facts
    from meme57.evaluation.reference import has_reference, reference_score
    from meme57.evaluation.statistics import summarise_returns
    from meme57.tracking.runs import active_run, log_metrics

    chosen = parse_parameters(parameters)
    source = checkpoint_source(Path(checkpoints["best"]["folder"]))
    check_source(episodes_source(episodes), source, what="the episodes are", maker="evaluate")
    game, evaluate = chosen.env.game, chosen.evaluate
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
    if (active := active_run()) is not None:
        log_metrics(active, score_metrics(agents), step=checkpoints["best"]["frames"])
    return {
        "run": chosen.run_name,
        "game": game,
        "source": source,
        "student_sha256": str(episodes["student_sha256"].iloc[0]),
        "frames": checkpoints["best"]["frames"],
        "confidence": evaluate.confidence,
        "protocol": protocol_facts(
            env_spec(chosen.env),
            protocol=evaluate.protocol,
            episodes=evaluate.episodes,
            seed=evaluate.seed,
            epsilon=evaluate.epsilon,
            favourite=favourite_policy(Path(checkpoints["best"]["folder"])) if "favourite" in agents else None,
        ),
        "agents": agents,
        "reference": asdict(reference_score(game)) if has_reference(game) else None,
    }


def episodes_source(episodes: pd.DataFrame) -> dict[str, str] | None:
    """The checkpoint that the episodes' table names; None where it names none, or several."""
    columns = ["checkpoint", "sha256"]
    named = episodes[columns].drop_duplicates() if set(columns) <= set(episodes) else episodes[[]]
    return {name: str(named[name].iloc[0]) for name in columns} if named.shape == (1, 2) else None


def score_metrics(agents: dict[str, dict[str, Any]]) -> dict[str, float]:
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


def film(parameters: dict[str, Any], checkpoints: dict[str, Any]) -> bytes:
    """The start of one episode of the teacher, as an H.264 video; empty, with a warning, where none can be made."""
    import tempfile

    from meme57.checkpoints.source import as_text, checkpoint_source
    from meme57.envs import env_spec
    from meme57.evaluation import protocol
    from meme57.evaluation.protocols import evaluation_spec
    from meme57.evaluation.video import write_video
    from meme57.learning.policies import Teacher

    chosen = parse_parameters(parameters)
    spec = evaluation_spec(env_spec(chosen.env), chosen.evaluate.protocol)
    teacher = Teacher.load(Path(checkpoints["best"]["folder"]))
    steps_a_second = SECONDS_OF_EMULATION / spec.frame_skip
    frames = protocol.film(
        teacher.player,
        spec,
        seed=chosen.evaluate.seed,
        max_steps=max(1, int(chosen.evaluate.video_seconds * steps_a_second)),
        epsilon=chosen.evaluate.epsilon,
        stop=stop_requested,
    )
    source = checkpoint_source(Path(checkpoints["best"]["folder"]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        try:
            write_video(path, frames, frames_per_second=steps_a_second, scale=2, comment=as_text(source))
        except (VideoError, StorageError) as error:
            log.warning("there is no film: %s", error)
            return b""
        return path.read_bytes()
