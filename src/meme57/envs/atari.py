"""Atari games on ALE's C++ vector environment. Every option is stated, since ALE's defaults differ."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from ale_py import Action, ALEInterface, LoggerMode, roms
from ale_py.vector_env import AtariVectorEnv

from meme57.envs.spec import EnvSpec, StepResult, VectorEnv
from meme57.errors import EnvironmentSetupError, first_line


class AtariEnv(VectorEnv):
    """A `VectorEnv` of one Atari game: single grayscale frames, raw rewards; a lost life does not end the episode.

    The emulator resets on the next step: the terminal observation comes with the last step, the reset observation with
    the next action, which is ignored. With `colour`, observations are [E, H, W, 3], for people to look at.
    """

    def __init__(self, spec: EnvSpec, *, num_envs: int, num_threads: int, colour: bool = False) -> None:
        self.spec = spec
        self.num_envs = num_envs
        self._env = AtariVectorEnv(
            spec.rom_id,
            num_envs,
            num_threads=num_threads,
            max_num_frames_per_episode=spec.max_episode_frames,
            repeat_action_probability=spec.sticky_action_probability,
            full_action_space=spec.full_action_space,
            continuous=False,
            autoreset_mode="NextStep",
            img_height=spec.height,
            img_width=spec.width,
            grayscale=not colour,
            stack_num=1,
            frameskip=spec.frame_skip,
            maxpool=spec.max_pool,
            noop_max=spec.noop_max,
            episodic_life=False,
            life_loss_info=False,
            reward_clipping=False,
            use_fire_reset=False,
        )
        self._ended = np.zeros(num_envs, dtype=np.bool_)

    def reset(self, *, seed: int) -> npt.NDArray[np.uint8]:
        """Reset all environments; environment i gets `seed` + i. Returns observations [E, H, W]."""
        observation, info = self._env.reset(seed=seed)
        self._ended = np.zeros(self.num_envs, dtype=np.bool_)
        self._lives = info["lives"].copy()
        frames: npt.NDArray[np.uint8] = observation[:, 0]
        return frames

    def send(self, actions: npt.NDArray[np.int64]) -> None:
        """Send actions [E]; the emulators step in their own threads."""
        self._env.send(actions)

    def receive(self) -> StepResult:
        """Return the result of the actions sent."""
        observation, reward, terminated, truncated, info = self._env.recv()
        is_reset, self._ended = self._ended, terminated | truncated
        life_lost = (info["lives"] < self._lives) & ~is_reset & ~self._ended
        self._lives = info["lives"].copy()
        return StepResult(observation[:, 0], reward.astype(np.float32), terminated, truncated, is_reset, life_lost)

    def close(self) -> None:
        """Close the emulators."""
        self._env.close()


def missing_roms(rom_ids: Iterable[str]) -> list[str]:
    """Return those of `rom_ids` whose file is missing or not the one that ale-py expects."""
    return [rom for rom in rom_ids if not _rom_is_whole(rom)]


def _rom_is_whole(rom_id: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return roms.get_rom_path(rom_id) is not None
    except OSError:
        return False


@functools.cache
def action_meanings(rom_id: str, *, full_action_space: bool) -> tuple[str, ...]:
    """Return the names of the actions, in the order of their numbers; this loads the ROM once.

    Raises:
        EnvironmentSetupError: the ROM does not load.
    """
    ALEInterface.setLoggerMode(LoggerMode.Error)
    emulator = ALEInterface()
    try:
        emulator.loadROM(roms.get_rom_path(rom_id))
    except Exception as error:
        raise EnvironmentSetupError(
            f"ROM {rom_id!r} does not load ({first_line(error)}): pip install 'ale-py>=0.12.1'"
        ) from error
    if full_action_space:
        return tuple(action.name for action in list(Action.__members__.values())[:18])
    return tuple(action.name for action in emulator.getMinimalActionSet())
