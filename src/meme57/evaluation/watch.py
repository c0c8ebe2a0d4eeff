"""Whole episodes that a person looks at: every frame as the console draws it, and the scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from meme57.envs import EnvSpec, make_env
from meme57.evaluation.protocol import Episode
from meme57.learning.policies import Policy


def watch(
    make_policy: Callable[[int], Policy], spec: EnvSpec, *, episodes: int, seed: int, finished: list[Episode]
) -> Iterator[npt.NDArray[np.uint8]]:
    """Frames of `episodes` whole episodes in one environment, [H, W, 3] (a toy's [H, W]); each end goes to `finished`.

    The same episodes as `play_episodes(num_envs=1)` plays from this seed: the policy plays the game it knows, a twin at
    full resolution with the same seed and actions is what is seen.
    """
    twin_spec = replace(spec, height=max(spec.height, 210), width=max(spec.width, 160))
    env, twin = make_env(spec, num_envs=1), make_env(twin_spec, num_envs=1, colour=True)
    total, steps = 0.0, 0
    try:
        policy = make_policy(1)
        policy.begin(env.reset(seed=seed))
        yield twin.reset(seed=seed)[0]
        while len(finished) < episodes:
            actions = policy.act()
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
