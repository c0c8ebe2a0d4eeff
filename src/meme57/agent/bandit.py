"""Which policy to play: a sliding-window UCB bandit over the family."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np


class SlidingWindowUCB:
    """UCB over the last `window` plays, with epsilon-uniform choice; each arm is tried once first.

    The score of an arm is its windowed mean + ucb_beta sqrt(1 / n), no logarithm. An arm that left the window is
    tried again. An arm counts as tried when it is selected, so environments that share one bandit try different arms.
    The first round starts at `first_arm`, so environments with a bandit each can also start with different arms. If
    plays are cut short it goes on behind them, or where every play is cut the last arms would never be tried.
    Source: Agent57 [inherited], both orders [ours].
    """

    def __init__(
        self, num_arms: int, *, window: int, beta: float, epsilon: float, seed: int, first_arm: int = 0
    ) -> None:
        self._num_arms = num_arms
        self._first_arm = first_arm
        self._beta = beta
        self._epsilon = epsilon
        self._rng = np.random.default_rng(seed)
        self._plays: deque[tuple[int, float]] = deque(maxlen=window)
        self._pending = np.zeros(num_arms, dtype=np.int64)
        self._elsewhere = np.zeros(num_arms, dtype=np.int64)

    def select(self) -> int:
        """Return the arm to play next, and count it as pending."""
        arm = self._choose()
        self._pending[arm] += 1
        return arm

    def update(self, arm: int, reward: float) -> None:
        """Record the reward of a played arm; the oldest play leaves the window."""
        self._pending[arm] = max(0, self._pending[arm] - 1)
        self._plays.append((int(arm), float(reward)))

    def forget_pending(self) -> None:
        """Count the pending arms as not played: their episodes were cut short."""
        if len(pending := np.flatnonzero(self._pending)):
            ahead = (pending - self._first_arm) % self._num_arms
            self._first_arm = int(self._first_arm + ahead.max() + 1) % self._num_arms
        self._pending[:] = 0

    @property
    def pending(self) -> list[int]:
        """How often each arm was selected here for a play that has not ended."""
        return [int(count) for count in self._pending]

    @property
    def plays(self) -> list[tuple[int, float]]:
        """The window, oldest first."""
        return list(self._plays)

    def share(self, plays: Iterable[tuple[int, float]], pending_elsewhere: Iterable[int]) -> None:
        """Replace the window by one that many bandits share, and take in how often the others have each arm pending."""
        self._plays.clear()
        self._plays.extend((int(arm), float(reward)) for arm, reward in plays)
        self._elsewhere[:] = list(pending_elsewhere)

    def _choose(self) -> int:
        counts, sums = self._window_statistics()
        untried = np.flatnonzero(counts + self._pending + self._elsewhere == 0)
        if len(untried):
            return int(untried[np.argmin((untried - self._first_arm) % self._num_arms)])
        if self._rng.random() < self._epsilon:
            return int(self._rng.integers(self._num_arms))
        finished = counts > 0
        if not finished.any():
            return int(self._rng.integers(self._num_arms))
        safe = np.maximum(counts, 1)
        scores = np.where(finished, sums / safe + self._beta * np.sqrt(1.0 / safe), -np.inf)
        return int(scores.argmax())

    def _window_statistics(self) -> tuple[np.ndarray[Any, np.dtype[np.int64]], np.ndarray[Any, np.dtype[np.float64]]]:
        counts = np.zeros(self._num_arms, dtype=np.int64)
        sums = np.zeros(self._num_arms)
        for arm, reward in self._plays:
            counts[arm] += 1
            sums[arm] += reward
        return counts, sums

    def state_dict(self) -> dict[str, Any]:
        """Return the state as JSON types, random state included."""
        return {
            "plays": [[arm, reward] for arm, reward in self._plays],
            "pending": self._pending.tolist(),
            "first_arm": self._first_arm,
            "random": self._rng.bit_generator.state,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict()`."""
        self._plays.clear()
        self._plays.extend((int(arm), float(reward)) for arm, reward in state["plays"])
        self._pending[:] = state["pending"]
        self._first_arm = state.get("first_arm", self._first_arm)  # earlier versions did not store it
        self._rng.bit_generator.state = state["random"]


def epsilon_ladder(num_envs: int, *, base: float, alpha: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return eps_i = base^(1 + alpha i / (L - 1)) of L environments; L = 1: base.  Source: Ape-X, R2D2 [inherited]."""
    if num_envs == 1:
        return np.array([base])
    return np.asarray(base ** (1.0 + alpha * np.arange(num_envs) / (num_envs - 1)))
