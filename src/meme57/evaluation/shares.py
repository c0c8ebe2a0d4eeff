"""Evaluation on a Ray cluster: every task plays the episodes of some environments, each with its own seed.

A task gets the policy as the bytes of its files, and reads them as it would read a folder. A lost task runs again. Its
episodes are the same, since they start from the same seeds. Source: [ours].
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from meme57.envs import EnvSpec
from meme57.errors import ActorError, Interrupted
from meme57.evaluation.protocol import Episode, RandomPolicy, play_episodes
from meme57.executor import Executor, make_executor
from meme57.learning.policies import (
    STUDENT_SPEC,
    STUDENT_WEIGHTS,
    TEACHER_FILES,
    Policy,
    StudentPolicy,
    Teacher,
    load_student,
)
from meme57.stopping import never, stop_requested

ATTEMPTS = 5
FILES = {
    "random": (),
    "teacher": TEACHER_FILES,
    "bandit_policy": TEACHER_FILES,
    "student": (STUDENT_SPEC, STUDENT_WEIGHTS),
}
"""The files that an agent needs to play."""


@dataclass(frozen=True)
class Share:
    """Environments `first_env` .. `first_env` + `num_envs` - 1 of an evaluation, and their episodes."""

    agent: str
    spec: EnvSpec
    seed: int
    epsilon: float
    first_env: int
    num_envs: int
    episodes: int
    temperature: float = 0.0
    """Of the draws; 0: the best actions."""
    policy: int = 0
    """Number of the policy in the teacher's family."""
    torso: str | None = None
    """The torso that the configuration names; a class of the user's is imported only then."""


def read_files(agent: str, folder: Path) -> dict[str, bytes]:
    """Read those of the agent's files that exist."""
    return {name: (folder / name).read_bytes() for name in FILES[agent] if (folder / name).is_file()}


def split(whole: Share, workers: int) -> list[Share]:
    """Split `whole` into shares; environment i keeps the quota that `play_episodes` gives it."""
    workers = min(workers, whole.num_envs)
    each, extra = divmod(whole.episodes, whole.num_envs)
    shares, first = [], 0
    for number in range(workers):
        count = whole.num_envs // workers + (number < whole.num_envs % workers)
        episodes = sum(each + (env < extra) for env in range(first, first + count))
        shares.append(replace(whole, first_env=whole.first_env + first, num_envs=count, episodes=episodes))
        first += count
    return shares


def play_share(share: Share, files: Mapping[str, bytes]) -> list[Episode]:
    """Play the share with the agent's files; its episodes are numbered as environments of the whole evaluation."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        for file, content in files.items():
            (Path(name) / file).write_bytes(content)
        make_policy = policy_maker(share, Path(name))
        played = play_episodes(
            make_policy, share.spec, episodes=share.episodes, num_envs=share.num_envs,
            seed=share.seed + share.first_env, epsilon=share.epsilon, stop=stop_requested,
        )  # fmt: skip
    return [replace(episode, env=episode.env + share.first_env) for episode in played]


def policy_maker(share: Share, folder: Path, *, device: torch.device | None = None) -> Callable[[int], Policy]:
    """Make the function number of environments -> policy; a teacher plays on `device`, by default on the CPU."""
    seed = share.seed + share.first_env
    if share.agent == "random":
        return partial(RandomPolicy, num_actions=share.spec.num_actions, seed=seed)
    if share.agent in ("teacher", "bandit_policy"):
        teacher = Teacher.load(folder, torso=share.torso)
        player = (teacher if device is None else teacher.to(device)).player
        return partial(player, policy=share.policy, temperature=share.temperature, seed=seed)
    return partial(StudentPolicy, load_student(folder), temperature=share.temperature, seed=seed)


def play_shares(
    whole: Share,
    files: Mapping[str, bytes],
    *,
    workers: int,
    executor: Executor | None = None,
    stop: Callable[[], bool] = never,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Episode]:
    """Play all episodes of `whole`, by default on Ray; return them in the order of `play_episodes`.

    Raises:
        Interrupted: `stop` returned True.
        ActorError: a share failed several times.
    """
    executor = executor or make_executor("ray", workers=workers)
    shares = split(replace(whole, num_envs=min(whole.num_envs, whole.episodes)), workers)
    play, done, reason = partial(play_share, files=files), dict[int, list[Episode]](), ""
    for _ in range(ATTEMPTS):
        missing = [number for number in range(len(shares)) if number not in done]
        outcomes = executor.run(play, [shares[number] for number in missing], stop=stop)
        if stop():
            raise Interrupted("stopped while evaluating: start again to evaluate")
        for number, outcome in zip(missing, outcomes, strict=True):
            if outcome.error is None:
                done[number] = outcome.value
            else:
                reason = outcome.error
        progress(sum(map(len, done.values())), whole.episodes)
        if len(done) == len(shares):
            return [episode for number in sorted(done) for episode in done[number]]
    raise ActorError(f"evaluation failed {ATTEMPTS} times on Ray ({reason}): the same command tries again")
