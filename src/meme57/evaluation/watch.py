"""Episodes to look at: every frame as the console draws it, and the scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from meme57.actors.exploration import explore
from meme57.envs import EnvSpec, make_env
from meme57.errors import Interrupted
from meme57.evaluation.protocol import Episode
from meme57.learning.policies import Policy
from meme57.stopping import never

Frames = Iterator[npt.NDArray[np.uint8]]


def watch(
    make_policy: Callable[[int], Policy],
    spec: EnvSpec,
    *,
    episodes: int,
    seed: int,
    finished: list[Episode],
    epsilon: float = 0.0,
    stop: Callable[[], bool] = never,
) -> Frames:
    """Yield the frames of whole episodes in one environment, [H, W, 3] (a toy's [H, W]); fill `finished`.

    The episodes are those that `play_episodes(num_envs=1)` plays from this seed. The policy plays the game that it
    learned; the frames come from a twin at full resolution, with the same seed and actions.

    Raises:
        Interrupted: `stop` returned True.
    """
    twin_spec = replace(spec, height=max(spec.height, 210), width=max(spec.width, 160))
    rng = np.random.default_rng([seed, 4])
    env, twin = make_env(spec, num_envs=1), make_env(twin_spec, num_envs=1, colour=True)
    total, steps = 0.0, 0
    try:
        policy = make_policy(1)
        policy.begin(env.reset(seed=seed))
        yield twin.reset(seed=seed)[0]
        while len(finished) < episodes:
            if stop():
                raise Interrupted("stopped while filming: start again to film")
            actions = explore(policy.act(), epsilon, spec.num_actions, rng)[0]
            result, seen = env.step(actions), twin.step(actions)
            policy.observe(actions, result)
            total, steps = total + float(result.reward[0]), steps + int(not result.is_reset[0])
            if result.terminated[0] or result.truncated[0]:
                finished.append(Episode(0, seed, total, steps, bool(result.truncated[0])))
                total, steps = 0.0, 0
            yield seen.observation[0]
    finally:
        env.close()
        twin.close()
