"""The evaluation protocol: whole episodes, counted so that short ones get no advantage; random play."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from meme57.actors.exploration import explore
from meme57.envs import EnvSpec, StepResult, make_env
from meme57.errors import Interrupted
from meme57.evaluation.protocols import PROTOCOLS, changed_settings, departures, evaluation_spec
from meme57.files import tree_digest
from meme57.learning.policies import Policy
from meme57.stopping import never

MOST_ENVS = 16
"""Environments that a few episodes are played in at once, where no parameter says it."""


@dataclass(frozen=True)
class Episode:
    """One whole episode."""

    env: int
    seed: int
    extrinsic_return: float
    num_steps: int
    truncated: bool


class RandomPolicy:
    """A `Policy` that draws actions uniformly."""

    def __init__(self, num_envs: int, num_actions: int, *, seed: int) -> None:
        self._num_envs, self._num_actions = num_envs, num_actions
        self._rng = np.random.default_rng(seed)

    def begin(self, observation: npt.NDArray[np.uint8]) -> None:
        """Do nothing: random play has no state."""

    def act(self) -> npt.NDArray[np.int64]:
        """Draw actions [E]."""
        return self._rng.integers(self._num_actions, size=self._num_envs)

    def observe(self, actions: npt.NDArray[np.int64], result: StepResult) -> None:
        """Do nothing: random play has no state."""


def play_episodes(
    make_policy: Callable[[int], Policy],
    spec: EnvSpec,
    *,
    episodes: int,
    num_envs: int,
    seed: int,
    epsilon: float = 0.0,
    stop: Callable[[], bool] = never,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Episode]:
    """Play exactly `episodes` whole episodes.

    Every environment plays a share that is fixed beforehand. So the score is not that of the first episodes to end.
    Environment i starts from `seed` + i and continues with its own random stream.

    Args:
        make_policy: number of environments -> policy.
        epsilon: share of uniformly random actions.

    Raises:
        Interrupted: `stop` returned True.
    """
    num_envs = min(num_envs, episodes)
    quotas = np.full(num_envs, episodes // num_envs) + (np.arange(num_envs) < episodes % num_envs)
    policy = make_policy(num_envs)
    rng = np.random.default_rng([seed, 4])
    env = make_env(spec, num_envs=num_envs)
    returns, lengths = np.zeros(num_envs), np.zeros(num_envs, np.int64)
    finished: list[Episode] = []
    played = np.zeros(num_envs, np.int64)
    try:
        policy.begin(env.reset(seed=seed))
        while len(finished) < episodes:
            if stop():
                raise Interrupted("stopped while evaluating: start again to evaluate")
            actions = explore(policy.act(), epsilon, spec.num_actions, rng)[0]
            result = env.step(actions)
            policy.observe(actions, result)
            returns += result.reward
            lengths += ~result.is_reset
            for i in np.flatnonzero(result.terminated | result.truncated).tolist():
                if played[i] < quotas[i]:
                    finished.append(Episode(i, seed + i, float(returns[i]), int(lengths[i]), bool(result.truncated[i])))
                    progress(len(finished), episodes)
                played[i] += 1
                returns[i], lengths[i] = 0.0, 0
    finally:
        env.close()
    return sorted(finished, key=lambda episode: episode.env)


def mean_return(
    make_policy: Callable[[int], Policy],
    spec: EnvSpec,
    *,
    episodes: int,
    num_envs: int,
    seed: int,
    stop: Callable[[], bool] = never,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> float:
    """Measure the mean return of `episodes` greedy episodes; `stop` and `progress` as in `play_episodes`."""
    played = play_episodes(
        make_policy, spec, episodes=episodes, num_envs=num_envs, seed=seed, stop=stop, progress=progress
    )
    return float(np.mean([episode.extrinsic_return for episode in played]))


def protocol_facts(
    trained: EnvSpec,
    *,
    protocol: str,
    episodes: int,
    seed: int,
    epsilon: float,
    temperature: float = 0.0,
) -> dict[str, Any]:
    """Describe the protocol of a result in words and numbers, with the settings that differ from training."""
    spec = evaluation_spec(trained, protocol)
    facts = spec.to_json()
    del facts["action_meanings"], facts["rom_id"]
    return {
        "protocol": protocol,
        "source": PROTOCOLS[protocol].source,
        "departures": departures(trained, protocol),
        "changed_since_training": changed_settings(trained, spec),
        **facts,
        "name": protocol_name(spec, epsilon=epsilon, temperature=temperature),
        "episodes": episodes,
        "seed": seed,
        "epsilon": epsilon,
        "temperature": temperature,
    }


def protocol_text(facts: Mapping[str, Any]) -> str:
    """Join the facts that make two evaluations comparable into one string, for the table of episodes."""
    named = {name: facts.get(name) for name in ("protocol", "name", "episodes", "seed", "epsilon")}
    return "{protocol} ({name}): {episodes} episodes from seed {seed}, epsilon {epsilon}".format(**named)


def protocol_name(spec: EnvSpec, *, epsilon: float, temperature: float = 0.0) -> str:
    """Make the string that two comparable scores share."""
    policy = f"drawn{temperature:g}-policy0" if temperature else "greedy-policy0"
    if spec.gymnasium is not None:
        size = f"{spec.height}x{spec.width}" if spec.frame_dtype == "uint8" else f"{spec.width}-numbers"
        around = f"-wrapped-{tree_digest(spec.to_json()['gymnasium'])[:6]}" if spec.gymnasium.wrappers else ""
        return f"{spec.max_episode_frames}-steps-{size}{around}-eps{epsilon:g}-{policy}"
    actions = "full" if spec.full_action_space else "minimal"
    return (
        f"sticky{spec.sticky_action_probability:g}-noop{spec.noop_max}-skip{spec.frame_skip}-{actions}-actions-"
        f"{spec.max_episode_frames}-frames-{spec.height}x{spec.width}-eps{epsilon:g}-{policy}"
    )
