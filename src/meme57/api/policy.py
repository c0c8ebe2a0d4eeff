"""`meme57.load`: a trained policy that plays, or acts on raw observations."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from meme57.api.find import find_policy
from meme57.envs import EnvSpec, StepResult, refuse_code
from meme57.envs.single import RawEnv, agent_frame, raw_env
from meme57.errors import RefusalError
from meme57.seeds import EVALUATION_SEED

if TYPE_CHECKING:
    import pandas as pd

    from meme57.export.policy_folder import PlayablePolicy


def load(
    source: str | PathLike[str],
    *,
    agent: Literal["teacher", "student"] | None = None,
    torso: str | None = None,
    code: Collection[str] = (),
) -> Policy:
    """Load a trained policy: `meme57.load("Pong-s2")`.

    Args:
        source: a run of the project around the working directory, a folder with a checkpoint or a student, or a
            registered model, `models:/meme57-pong@champion`; or a game whose policy comes with meme57, `pong`.
        agent: the teacher, which is the default of a run or a game, or the student, which plays through ONNX Runtime.
        torso: your torso's class path, where the policy has one; a file alone cannot make code run.
        code: likewise the ids and wrappers of your environment that have a module in their name.

    Raises:
        Meme57Error: there is no such policy, or it cannot be used; one line that says what to do.
    """
    return Policy(find_policy(source, agent, torso=torso), code=code)


class Policy:
    """A policy with the game that it knows; it takes the best actions, or draws them where it was scored so."""

    def __init__(self, found: PlayablePolicy, *, code: Collection[str] = ()) -> None:
        self.agent = found.agent
        """teacher or student"""
        self.spec: EnvSpec = found.env
        """The game with its whole protocol."""
        self._make, self._code = found.make, code
        self._env: RawEnv | None = None
        self._one = found.make(1)
        self.reset()

    @property
    def game(self) -> str:
        """The game's name."""
        return self.spec.game

    @property
    def env(self) -> RawEnv:
        """The game as an environment of Gymnasium, with raw observations, under the protocol of training.

        It tells the policy of each reward and each reset, so `act(observation)` is all that a loop needs.

        Raises:
            EnvironmentSetupError: the policy's file names code of an environment that `code` does not.
        """
        if self._env is None:
            refuse_code(self.spec, self._code)
            self._env = raw_env(self.spec, on_reset=self.reset, on_step=self._hear)
        return self._env

    def reset(self) -> None:
        """Forget the episode: the next observation begins one."""
        self._last_action: int | None = None
        self._reward = 0.0

    def act(self, observation: Any, reward: float | None = None) -> int:
        """Return the action for a raw observation; the state of the episode is kept inside.

        Args:
            observation: of Gymnasium: an image (H x W, H x W x 1 or H x W x 3, uint8; any size), a vector, or the
                dictionary that has the policy's entry.
            reward: of the last action; by default what `env` told, 0 with an environment of your own.

        Returns:
            The action's number, from 0. `env` takes it as it is; an environment of your own with
            `Discrete(n, start=1)` takes one more.
        """
        frame = agent_frame(self.spec, observation)
        if self._last_action is None:
            self._one.begin(frame)
        else:
            heard = np.array([self._reward if reward is None else reward], np.float32)
            no = np.zeros(1, np.bool_)
            self._one.observe(np.array([self._last_action]), StepResult(frame, heard, no, no, no, no))
        self._last_action = int(self._one.act()[0])
        self._reward = 0.0
        return self._last_action

    def play(self, episodes: int = 1, *, seed: int = EVALUATION_SEED) -> pd.DataFrame:
        """Play whole episodes, a row each: env, seed, return, length_steps, truncated.

        The seed is that of the row's environment; of its episodes the first begins with it, and the later ones go on.

        Raises:
            RefusalError: no episodes.
            EnvironmentSetupError: as `env`.
        """
        import pandas as pd

        from meme57.evaluation.protocol import MOST_ENVS, play_episodes

        if episodes < 1:
            raise RefusalError(f"episodes={episodes}: at least one can be played")
        refuse_code(self.spec, self._code)
        num_envs = min(episodes, MOST_ENVS)
        played = play_episodes(self._make, self.spec, episodes=episodes, num_envs=num_envs, seed=seed)
        table = pd.DataFrame([asdict(episode) for episode in played])
        return table.rename(columns={"extrinsic_return": "return", "num_steps": "length_steps"})

    def __repr__(self) -> str:
        return f"<{self.agent} of {self.game}>"

    def _hear(self, reward: float) -> None:
        self._reward = reward
