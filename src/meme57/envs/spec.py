"""The specification of a game and the interface of a vector environment."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from meme57.agent.bounds import Count, Fraction
from meme57.config.fields import FrameSkip, Height, NoopMax, Width
from meme57.errors import EnvironmentSetupError
from meme57.files import parse_as


@dataclass(frozen=True)
class EnvSpec:
    """A game with its whole protocol; two equal specs are the same task."""

    game: str
    rom_id: str
    num_actions: Count
    action_meanings: tuple[str, ...]
    height: Height
    width: Width
    full_action_space: bool
    sticky_action_probability: Fraction
    frame_skip: FrameSkip
    max_pool: bool
    noop_max: NoopMax
    max_episode_frames: Count

    def to_json(self) -> dict[str, Any]:
        """Return a mapping of JSON types; tuples become lists."""
        return {**asdict(self), "action_meanings": list(self.action_meanings)}

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> EnvSpec:
        """Undo `to_json`.

        Raises:
            EnvironmentSetupError: `tree` does not come from `to_json`.
        """
        try:
            spec = parse_as(cls, tree)
            if len(spec.action_meanings) != spec.num_actions:
                raise ValueError(f"num_actions={spec.num_actions}, but {len(spec.action_meanings)} action meanings")
        except ValueError as error:
            raise EnvironmentSetupError(
                f"the stored env_spec is damaged ({error}): `kedro run --pipelines setup` makes it again"
            ) from error
        return spec


@dataclass(frozen=True)
class StepResult:
    """The result of one vector step; arrays belong to the caller.

    Where `is_reset`, the environment began an episode: its action was ignored, its reward is 0, and the transition does
    not count as a step. Otherwise `observation` follows the action, also at the end of an episode.
    """

    observation: npt.NDArray[np.uint8]  # [E, H, W]
    reward: npt.NDArray[np.float32]  # [E] unclipped
    terminated: npt.NDArray[np.bool_]  # [E] a true terminal
    truncated: npt.NDArray[np.bool_]  # [E] the frame limit
    is_reset: npt.NDArray[np.bool_]  # [E]


class VectorEnv(Protocol):
    """E copies of one game, stepped together; after an episode's end, the next step begins a new one."""

    num_envs: int
    spec: EnvSpec

    def reset(self, *, seed: int) -> npt.NDArray[np.uint8]:
        """Reset every environment, environment i with `seed` + i; return observations [E, H, W]."""

    def send(self, actions: npt.NDArray[np.int64]) -> None:
        """Send actions [E]; the emulators run until `receive`, which must follow."""

    def receive(self) -> StepResult:
        """Wait for the result of the actions sent, and return it."""

    def step(self, actions: npt.NDArray[np.int64]) -> StepResult:
        """Run `send` and `receive`: one agent step (frame_skip emulator frames) of each environment."""

    def close(self) -> None:
        """Close the emulators."""
