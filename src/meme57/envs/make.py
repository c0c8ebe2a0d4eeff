"""Making games from parameters."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from meme57.config import is_toy, rom_id
from meme57.config.differences import describe_differences
from meme57.config.groups import EnvParameters
from meme57.envs import atari
from meme57.envs.gymnasium_env import GymnasiumEnv, gymnasium_spec
from meme57.envs.spec import EnvSpec, VectorEnv
from meme57.envs.tabular import TabularEnv
from meme57.envs.toys import toy
from meme57.errors import EnvironmentSetupError

KNOWN_PACKAGES = ("gymnasium", "minigrid")
"""What a file may name: this project asks for them."""


def env_spec(parameters: EnvParameters) -> EnvSpec:
    """Return the task that the parameters describe.

    Raises:
        EnvironmentSetupError: the game's ROM does not load, the frames are too small for a built-in game, or an
            environment of Gymnasium cannot be made or read.
    """
    if parameters.id is not None:
        return gymnasium_spec(parameters)
    limit = parameters.max_episode_frames
    if is_toy(parameters.game):
        table = toy(parameters.game)
        meanings = table.actions
        limit = min(table.max_steps * parameters.frame_skip, limit)
        _check_size(parameters, table.grid.shape[1:])
    else:
        meanings = atari.action_meanings(rom_id(parameters.game), full_action_space=parameters.full_action_space)
    return EnvSpec.of(parameters, meanings, max_episode_frames=limit)


def agreed_spec(parameters: EnvParameters, stored: object) -> EnvSpec:
    """Return the task that the parameters describe, after comparing it with the stored description.

    Raises:
        EnvironmentSetupError: `env_spec.json` was edited, or made by another version or another ROM.
    """
    spec = env_spec(parameters)
    tree = stored if isinstance(stored, dict) else {}
    if what := describe_differences(tree, spec.to_json()):
        raise EnvironmentSetupError(
            f"env_spec.json describes another game ({what}): `kedro run --pipelines setup` writes it again"
        )
    return spec


def make_env(spec: EnvSpec, *, num_envs: int, num_threads: int = 1, colour: bool = False) -> VectorEnv:
    """Make a vector environment of `num_envs` copies; `reset` it before the first step.

    With `colour`, observations are [E, H, W, 3], in the colours that a person sees; a built-in game has none.
    """
    if spec.gymnasium is not None:
        return GymnasiumEnv(spec, num_envs=num_envs, picture=colour)
    if is_toy(spec.game):
        return TabularEnv(toy(spec.game), spec, num_envs=num_envs)
    return atari.AtariEnv(spec, num_envs=num_envs, num_threads=num_threads, colour=colour)


def foreign_code(env_id: str, wrappers: Iterable[str]) -> list[str]:
    """List the module paths of an environment that lead into packages which this project does not know."""
    paths = [env_id] * (":" in env_id) + list(wrappers)
    return [path for path in paths if path.partition(":")[0].partition(".")[0] not in KNOWN_PACKAGES]


def refuse_code(spec: EnvSpec, named: Collection[str]) -> None:
    """Refuse a spec from a file whose making would import code that the user did not name.

    Args:
        named: ids and wrappers that the user's own configuration or command names.

    Raises:
        EnvironmentSetupError: one line that names the code.
    """
    if spec.gymnasium is None:
        return
    for path in foreign_code(spec.gymnasium.id, spec.gymnasium.wrappers):
        if path not in named:
            raise EnvironmentSetupError(
                f"the file of this policy names {path}, which is code that this command does not name: if it is your "
                "own, give code= (in Python) or --code (of meme57 play and export)"
            )


def _check_size(parameters: EnvParameters, grid: tuple[int, ...]) -> None:
    if parameters.height < grid[0] or parameters.width < grid[1]:
        raise EnvironmentSetupError(
            f"{parameters.game} has {grid[0]} x {grid[1]} cells, which frames of "
            f"{parameters.height}x{parameters.width} cannot show: "
            f"choose env.height={grid[0]} and env.width={grid[1]} or more"
        )
