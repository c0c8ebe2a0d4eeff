"""Environments of Gymnasium: its own, a package's or yours; discrete actions, images or vectors of numbers."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from contextlib import suppress
from enum import EnumType
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Box, Dict, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit, TransformObservation

from meme57.config.groups import EnvParameters
from meme57.envs.frames import to_frames
from meme57.envs.spec import LONGEST_VECTOR, EnvSpec, FrameType, GymnasiumTask, StepResult, VectorEnv
from meme57.errors import EnvironmentSetupError, VideoError, one_line

REGISTERED_BY = {"MiniGrid-": "minigrid", "BabyAI-": "minigrid"}
"""Beginning of ids -> the package that registers them when it is imported; an optional extra of this project."""
FLATTEN = "env.wrappers=[gymnasium.wrappers:FlattenObservation] makes a vector of them"


class GymnasiumEnv(VectorEnv):
    """A `VectorEnv` of E copies of one environment, stepped one after the other.

    Gymnasium's next-step autoreset, stated: the last observation comes with the end, the reset observation with the
    next (ignored) action. What ran out of time is truncated, not terminated. Environment i is reset with `seed` + i,
    and goes on with its own random stream. With `picture`, observations are what the environment draws, [E, H, W, 3],
    for people to look at.
    """

    def __init__(self, spec: EnvSpec, *, num_envs: int, picture: bool = False) -> None:
        self.spec = spec
        self.num_envs = num_envs
        self._picture = picture

        def make() -> gymnasium.Env[Any, Any]:
            return selected(limited(spec, picture=picture), spec)

        self._env = SyncVectorEnv([make] * num_envs, autoreset_mode=AutoresetMode.NEXT_STEP)
        self._first_action = int(self._env.single_action_space.start)  # type: ignore[attr-defined]
        self._ended = np.zeros(num_envs, dtype=np.bool_)

    def reset(self, *, seed: int) -> npt.NDArray[Any]:
        """Reset every environment and return observations [E, H, W]; environment i gets `seed` + i."""
        observation, _ = self._env.reset(seed=seed)
        self._ended = np.zeros(self.num_envs, dtype=np.bool_)
        return self._frames(observation)

    def send(self, actions: npt.NDArray[np.int64]) -> None:
        """Keep the actions [E], counted from 0, for `receive`."""
        self._actions = actions + self._first_action

    def receive(self) -> StepResult:
        """Step every environment with the actions sent, and return the result."""
        observation, reward, terminated, truncated, _ = self._env.step(self._actions)
        truncated = truncated & ~terminated
        result = StepResult(
            self._frames(observation), reward.astype(np.float32), terminated.copy(), truncated, self._ended,
            life_lost=np.zeros_like(self._ended),
        )  # fmt: skip
        self._ended = terminated | truncated
        return result

    def close(self) -> None:
        """Close the environments."""
        self._env.close()

    def _frames(self, observation: Any) -> npt.NDArray[Any]:
        if not self._picture:
            spec = self.spec
            return to_frames(observation, height=spec.height, width=spec.width, dtype=spec.frame_dtype)
        try:
            return np.stack([env.render() for env in self._env.envs])  # type: ignore[misc]
        except Exception as error:  # whatever a foreign environment raises: a film is no result
            raise VideoError(f"{self.spec.game} cannot be drawn ({one_line(error)})") from error


def gymnasium_spec(parameters: EnvParameters) -> EnvSpec:
    """Return the task that `env.id` names; the environment is made once to look at its spaces.

    Raises:
        EnvironmentSetupError: one line: an unknown id, a wrapper that cannot be used, spaces that no agent here reads.
    """
    assert parameters.id is not None
    task = GymnasiumTask(parameters.id, parameters.wrappers, parameters.observation_key)
    env = open_env(task)
    try:
        actions, seen = env.action_space, observed_space(env, task)
        if not isinstance(actions, Discrete):
            raise EnvironmentSetupError(
                f"env.id={task.id} has the actions {actions}: agents here choose one of a few, so take an environment "
                "with Discrete actions, or a wrapper that makes them (env.wrappers)"
            )
        height, width, dtype = _frame(seen, parameters)
        limit = parameters.max_episode_frames
        with suppress(Exception):  # a wrapper of yours may not know its spec
            limit = min(limit, env.spec.max_episode_steps or limit)  # type: ignore[union-attr]
        meanings = _meanings(env, int(actions.n))
    finally:
        env.close()
    return EnvSpec.of(
        parameters, meanings, height=height, width=width, max_episode_frames=limit, frame_dtype=dtype, gymnasium=task
    )


def limited(spec: EnvSpec, *, picture: bool) -> gymnasium.Env[Any, Any]:
    """Make one environment of the spec, truncated after `max_episode_frames` steps; its observations are raw."""
    assert spec.gymnasium is not None
    return TimeLimit(open_env(spec.gymnasium, picture=picture), max_episode_steps=spec.max_episode_frames)


def selected(env: gymnasium.Env[Any, Any], spec: EnvSpec) -> gymnasium.Env[Any, Any]:
    """Reduce the observations of an environment to the entry that the agent sees."""
    task = spec.gymnasium
    if task is None or task.observation_key is None:
        return env
    key = task.observation_key
    return TransformObservation(env, lambda observation: observation[key], observed_space(env, task))


def open_env(task: GymnasiumTask, *, picture: bool = False) -> gymnasium.Env[Any, Any]:
    """Make the environment with its wrappers.

    Raises:
        EnvironmentSetupError: it is not registered, does not start, or a wrapper cannot be used.
        VideoError: it does not start so that it can be drawn.
    """
    _import_registrar(task.id)
    options: dict[str, Any] = {"render_mode": "rgb_array"} if picture else {}  # yours may have no such argument
    try:
        env: gymnasium.Env[Any, Any] = gymnasium.make(task.id, disable_env_checker=True, **options)
    except gymnasium.error.UnregisteredEnv as error:
        raise EnvironmentSetupError(_unknown(task.id)) from error
    except ModuleNotFoundError as error:
        raise EnvironmentSetupError(
            f"env.id={task.id} does not start ({one_line(error)}): install what is missing, or put its folder on "
            "PYTHONPATH"
        ) from error
    except Exception as error:  # what a foreign environment raises has no common base
        kind = VideoError if picture else EnvironmentSetupError
        raise kind(f"env.id={task.id} does not start: {one_line(error)}") from error
    for name in task.wrappers:
        env = _wrapped(env, name)
    return env


def observed_space(env: gymnasium.Env[Any, Any], task: GymnasiumTask) -> gymnasium.Space[Any]:
    """Return the space of what the agent sees.

    Raises:
        EnvironmentSetupError: a dictionary of which no entry was chosen, or a key that it does not have.
    """
    space, key = env.observation_space, task.observation_key
    if not isinstance(space, Dict):
        if key is not None:
            raise EnvironmentSetupError(
                f"env.observation_key={key} needs a dictionary, and {task.id} shows {space}: leave it out"
            )
        return space
    if key in space.spaces:
        return space[key]
    keys = ", ".join(space.spaces)
    if key is not None:
        raise EnvironmentSetupError(f"env.observation_key={key} is not there: {task.id} shows {keys}")
    raise EnvironmentSetupError(
        f"env.id={task.id} shows a dictionary: choose one entry, env.observation_key= one of {keys}; or {FLATTEN}"
    )


def _frame(space: gymnasium.Space[Any], parameters: EnvParameters) -> tuple[int, int, FrameType]:
    """Return height, width and type of the agent's frames."""
    if isinstance(space, Box) and space.dtype is not None:
        shape = space.shape
        is_image = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))
        if space.dtype == np.uint8 and is_image:
            return parameters.height, parameters.width, "uint8"
        if len(shape) == 1 and 1 <= shape[0] <= LONGEST_VECTOR:
            return 1, shape[0], "float32"
    raise EnvironmentSetupError(
        f"env.id={parameters.id} shows {space}: agents here see uint8 images (H x W, H x W x 1 or H x W x 3) or "
        f"vectors of at most {LONGEST_VECTOR} numbers; {FLATTEN}"
    )


def _meanings(env: gymnasium.Env[Any, Any], num_actions: int) -> tuple[str, ...]:
    """Return the names of the actions; their numbers if the environment has no names."""
    named, actions = getattr(env.unwrapped, "get_action_meanings", None), getattr(env.unwrapped, "actions", None)
    names = tuple(map(str, named())) if callable(named) else ()
    if isinstance(actions, EnumType):
        names = tuple(actions.__members__)
    return names if len(names) == num_actions else tuple(f"ACTION_{i}" for i in range(num_actions))


def _wrapped(env: gymnasium.Env[Any, Any], name: str) -> gymnasium.Env[Any, Any]:
    module, _, attribute = name.partition(":")
    try:
        wrapper = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise EnvironmentSetupError(
            f"env.wrappers: {name!r} cannot be imported ({one_line(error)}): write module:Class, such as "
            "gymnasium.wrappers:FlattenObservation, and put the module's folder on PYTHONPATH"
        ) from error
    if not (isinstance(wrapper, type) and issubclass(wrapper, gymnasium.Wrapper)):
        raise EnvironmentSetupError(f"env.wrappers: {name} is no subclass of gymnasium.Wrapper")
    try:
        return wrapper(env)
    except Exception as error:  # as above
        raise EnvironmentSetupError(f"env.wrappers: {name} cannot be put around it: {one_line(error)}") from error


def _import_registrar(env_id: str) -> None:
    """Import the package that registers well-known ids, if it is installed."""
    if env_id in gymnasium.registry:
        return
    for package in _registrars(env_id):
        if importlib.util.find_spec(package) is not None:
            importlib.import_module(package)


def _registrars(env_id: str) -> list[str]:
    return [package for beginning, package in REGISTERED_BY.items() if env_id.startswith(beginning)]


def _unknown(env_id: str) -> str:
    for package in _registrars(env_id):
        if importlib.util.find_spec(package) is None:
            return f"env.id={env_id} needs the package {package}: pip install 'meme57[{package}]'"
    name = env_id.rpartition(":")[2]
    near = difflib.get_close_matches(name, gymnasium.registry, n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return (
        f"env.id={env_id} is not registered in Gymnasium: {hint}Where a package registers it on import, install that "
        f"and write env.id=PACKAGE:{name}"
    )
