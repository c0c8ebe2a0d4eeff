"""Play the evaluation episodes of each agent, in this process or on Ray; keep them until all agents have played."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from meme57.blueprint import find_device
from meme57.checkpoints.best_explorer import bandit_policy
from meme57.config import Parameters
from meme57.envs import EnvSpec
from meme57.errors import CheckpointError
from meme57.evaluation.protocol import Episode, play_episodes
from meme57.evaluation.shares import FILES, Share, play_shares, policy_maker, read_files
from meme57.files import checked, checksum, read_json, tree_digest, write_json
from meme57.stopping import never

AGENTS = ("random", "teacher", "bandit_policy", "student")
"""Random play, policy 0 of the checkpoint, the policy that its bandit preferred, and the distilled student."""
Counter = Callable[[str, str], AbstractContextManager[Callable[[int, int], None]]]
_KEPT = "episodes.{}.json"

log = logging.getLogger(__name__)


def play_agents(
    parameters: Parameters,
    spec: EnvSpec,
    teacher_folder: Path,
    student_folder: Path | None,
    *,
    kept: Path,
    counter: Counter,
    stop: Callable[[], bool] = never,
) -> list[dict[str, Any]]:
    """Play whole episodes of each agent on the same seeds; return one row per episode.

    Args:
        student_folder: None if there is no student.
        kept: folder that holds the episodes of the agents that are done, until all are. A start after a kill reads
            them there, if weights, seeds and protocol are the same.

    Raises:
        Interrupted: `stop` returned True.
        ActorError: evaluation on Ray failed several times.
    """
    torch.set_num_threads(parameters.learner.torch_threads)
    rows: list[dict[str, Any]] = []
    for agent, policy in policies(parameters, teacher_folder).items():
        if agent == "bandit_policy" and policy == 0:  # the same episodes as the teacher's
            rows += [{**row, "agent": agent} for row in rows if row["agent"] == "teacher"]
            continue
        folder = student_folder if agent == "student" else teacher_folder
        if folder is None:
            continue
        share, path = _share(parameters, spec, agent, policy), kept / _KEPT.format(agent)
        identity = _identity(share, folder)
        if (episodes := _read(path, identity)) is None:
            with counter(f"evaluate {agent}", "episodes") as progress:
                episodes = _play(parameters, share, folder, progress, stop)
            write_json(path, {"identity": identity, "episodes": [asdict(episode) for episode in episodes]})
        else:
            log.info("evaluate %s: its %d episodes were played before the stop", agent, len(episodes))
        rows += [_row(agent, *row) for row in enumerate(episodes)]
    for agent in AGENTS:
        (kept / _KEPT.format(agent)).unlink(missing_ok=True)
    return rows


@dataclass(frozen=True)
class _Kept:
    identity: str
    episodes: list[Episode]


def policies(parameters: Parameters, teacher_folder: Path) -> dict[str, int]:
    """Map each agent that is evaluated to its policy of the family (0 if it has none)."""
    found = dict.fromkeys(AGENTS, 0)
    preferred = bandit_policy(teacher_folder) if parameters.evaluate.bandit_policy else None
    if preferred is None:
        del found["bandit_policy"]
    else:
        found["bandit_policy"] = preferred
    return found


def _share(parameters: Parameters, spec: EnvSpec, agent: str, policy: int) -> Share:
    evaluate = parameters.evaluate
    return Share(
        agent=agent,
        spec=spec,
        seed=evaluate.seed,
        epsilon=0.0 if agent == "random" else evaluate.epsilon,  # random play ignores epsilon
        temperature=evaluate.temperature,
        first_env=0,
        num_envs=evaluate.num_envs,
        episodes=evaluate.episodes,
        policy=policy,
        torso=parameters.network.torso,
    )


def _play(
    parameters: Parameters,
    share: Share,
    folder: Path,
    progress: Callable[[int, int], None],
    stop: Callable[[], bool],
) -> list[Episode]:
    if parameters.actors.pool == "ray":
        workers, files = parameters.ray.workers, read_files(share.agent, folder)
        return play_shares(share, files, workers=workers, stop=stop, progress=progress)
    return play_episodes(
        policy_maker(share, folder, device=find_device()), share.spec, episodes=share.episodes,
        num_envs=share.num_envs, seed=share.seed, epsilon=share.epsilon, stop=stop, progress=progress,
    )  # fmt: skip


def _identity(share: Share, folder: Path) -> str:
    """Compute a checksum of the share and of the agent's files."""
    weights = {name: checksum(folder / name) for name in FILES[share.agent] if (folder / name).is_file()}
    return tree_digest({**asdict(share), "spec": share.spec.to_json(), "files": weights})


def _read(path: Path, identity: str) -> list[Episode] | None:
    """Read the episodes that were kept under `identity`; None if there are none, or the file is damaged."""
    try:
        stored = checked(_Kept, read_json(path), path)
    except CheckpointError:
        return None
    return stored.episodes if stored.identity == identity else None


def _row(agent: str, number: int, episode: Episode) -> dict[str, Any]:
    return {
        "agent": agent,
        "episode": number,
        "return": episode.extrinsic_return,
        "length_steps": episode.num_steps,
        "seed": episode.seed,
        "truncated": episode.truncated,
    }
