"""The specification of a game and the interface of a vector environment."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from meme57.agent.bounds import Count, Fraction
from meme57.config.fields import FrameSkip, NoopMax
from meme57.config.games import is_toy, rom_id
from meme57.config.groups import EnvParameters
from meme57.errors import EnvironmentSetupError
from meme57.files import parse_as

FrameType = Literal["uint8", "float32"]
LONGEST_VECTOR = 4096


@dataclass(frozen=True)
class GymnasiumTask:
    """Which environment of Gymnasium a game is."""

    id: str
    wrappers: tuple[str, ...] = ()
    """The innermost first, each as `module:Class`."""
    observation_key: str | None = None
    """The entry that is seen, where observations are a dictionary."""


@dataclass(frozen=True)
class EnvSpec:
    """A game with its whole protocol; two equal specs are the same task.

    A frame is an image of `height` x `width` pixels (uint8), or a vector of `width` numbers in one row (float32).
    """

    game: str
    rom_id: str
    num_actions: Count
    action_meanings: tuple[str, ...]
    height: Count
    width: Count
    full_action_space: bool
    sticky_action_probability: Fraction
    frame_skip: FrameSkip
    max_pool: bool
    noop_max: NoopMax
    max_episode_frames: Count
    frame_dtype: FrameType = "uint8"
    gymnasium: GymnasiumTask | None = None
    """None for a game of this project."""

    @classmethod
    def of(cls, parameters: EnvParameters, meanings: tuple[str, ...], **differing: Any) -> EnvSpec:
        """Combine parameters with the names of the actions; `differing` fields are not as the parameters say."""
        shared = {f.name: getattr(parameters, f.name) for f in fields(cls) if f.name in EnvParameters.model_fields}
        rom, count = rom_id(parameters.game), len(meanings)
        return cls(rom_id=rom, num_actions=count, action_meanings=meanings, **{**shared, **differing})

    @property
    def frame_shape(self) -> tuple[int, int]:
        """Return H, W."""
        return self.height, self.width

    @property
    def has_protocols(self) -> bool:
        """Say whether evaluation protocols exist for such a game: they do for Atari games alone."""
        return self.gymnasium is None and not is_toy(self.game)

    def to_json(self) -> dict[str, Any]:
        """Return a mapping of JSON types; fields that only environments of Gymnasium have are left out for others."""
        tree = {**asdict(self), "action_meanings": list(self.action_meanings)}
        if self.gymnasium is None:
            del tree["frame_dtype"], tree["gymnasium"]
        else:
            tree["gymnasium"]["wrappers"] = list(self.gymnasium.wrappers)
        return tree

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> EnvSpec:
        """Undo `to_json`.

        Raises:
            EnvironmentSetupError: `tree` does not come from `to_json`.
        """
        try:
            spec = parse_as(cls, tree)
            _check_frame(spec)
            if len(spec.action_meanings) != spec.num_actions:
                raise ValueError(f"num_actions={spec.num_actions}, but {len(spec.action_meanings)} action meanings")
        except ValueError as error:
            raise EnvironmentSetupError(
                f"the stored env_spec is damaged ({error}): `kedro run --pipelines setup` makes it again"
            ) from error
        return spec


def _check_frame(spec: EnvSpec) -> None:
    is_image = spec.frame_dtype == "uint8"
    height, width = ((16, 210), (16, 160)) if is_image else ((1, 1), (1, LONGEST_VECTOR))
    if not (height[0] <= spec.height <= height[1] and width[0] <= spec.width <= width[1]):
        raise ValueError(f"height={spec.height}, width={spec.width} are no {'image' if is_image else 'vector'}")


@dataclass(frozen=True)
class StepResult:
    """The result of one vector step; arrays belong to the caller.

    Where `is_reset`, the environment began an episode: its action was ignored, its reward is 0, and the transition does
    not count as a step. Otherwise `observation` follows the action, also at the end of an episode.
    """

    observation: npt.NDArray[Any]  # [E, H, W] uint8, or float32 where the spec says so
    reward: npt.NDArray[np.float32]  # [E] unclipped
    terminated: npt.NDArray[np.bool_]  # [E] a true terminal
    truncated: npt.NDArray[np.bool_]  # [E] a limit of time, not also terminated
    is_reset: npt.NDArray[np.bool_]  # [E]
    life_lost: npt.NDArray[np.bool_]  # [E] a life was lost and the episode goes on; False where a game has no lives


class VectorEnv(Protocol):
    """E copies of one game, stepped together; after an episode's end, the next step begins a new one."""

    num_envs: int
    spec: EnvSpec

    def reset(self, *, seed: int) -> npt.NDArray[Any]:
        """Reset every environment, environment i with `seed` + i; return observations [E, H, W]."""

    def send(self, actions: npt.NDArray[np.int64]) -> None:
        """Send actions [E]; the emulators run until `receive`, which must follow."""

    def receive(self) -> StepResult:
        """Wait for the result of the actions sent, and return it."""

    def step(self, actions: npt.NDArray[np.int64]) -> StepResult:
        """Run `send` and `receive`: one agent step (frame_skip emulator frames) of each environment."""
        self.send(actions)
        return self.receive()

    def close(self) -> None:
        """Close the emulators."""
