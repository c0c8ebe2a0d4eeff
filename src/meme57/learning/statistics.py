"""Statistics of training between two log lines."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from torch import Tensor

from meme57.actors import EpisodeResult

EXPLOIT_WINDOW = 20
"""Number of last episodes of policy 0 whose mean return ranks checkpoints when there is no evaluation."""

NEARLY_GREEDY = 0.02
"""Exploration rate below which an episode of policy 0 is compared with the network's predicted return."""


class TrainingStatistics:
    """Accumulates episodes and learner metrics; `row` returns their means and starts over.

    If actors draw their actions, no return is compared with the prediction, which is of the preferred action.
    """

    def __init__(self, *, actions_are_drawn: bool = False) -> None:
        self._actions_are_drawn = actions_are_drawn
        self.num_episodes = 0
        self.exploit_returns: deque[float] = deque(maxlen=EXPLOIT_WINDOW)
        self._clear()

    def add_episodes(self, episodes: Iterable[EpisodeResult]) -> None:
        """Add finished episodes."""
        for episode in episodes:
            self.num_episodes += 1
            self._episodes.append(episode)
            if episode.policy == 0:
                self.exploit_returns.append(episode.extrinsic_return)

    def add_update(self, metrics: dict[str, Tensor]) -> None:
        """Add the metrics of one update, as tensors; only `row` reads them."""
        for name, value in metrics.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()
            self._counts[name] = self._counts.get(name, 0) + 1

    def row(self) -> dict[str, float]:
        """Return the means since the last row."""
        row = {name: float(total) / self._counts[name] for name, total in self._sums.items()}
        row["episodes/count"] = float(self.num_episodes)
        row["episodes/finished"] = float(len(self._episodes))
        if self._episodes:
            row["episodes/return"] = _mean(e.extrinsic_return for e in self._episodes)
            row["episodes/length_steps"] = _mean(e.num_steps for e in self._episodes)
            for policy in sorted({e.policy for e in self._episodes}):
                row[f"policy_episodes/{policy}"] = float(sum(e.policy == policy for e in self._episodes))
            if exploiting := [e for e in self._episodes if e.policy == 0]:
                row["episodes/return_exploit"] = _mean(e.extrinsic_return for e in exploiting)
            greedy = [e for e in exploiting if e.epsilon < NEARLY_GREEDY and not self._actions_are_drawn]
            if greedy:
                row["value/predicted"] = _mean(e.predicted_return for e in greedy)
                row["value/returned"] = _mean(e.discounted_return for e in greedy)
        self._clear()
        return row

    @property
    def exploit_score(self) -> float | None:
        """Mean training return of policy 0 over its last episodes."""
        return _mean(self.exploit_returns) if self.exploit_returns else None

    def state_dict(self) -> dict[str, Any]:
        """Return the state as JSON types. Call it right after `row`, when nothing is accumulated."""
        return {"num_episodes": self.num_episodes, "exploit_returns": list(self.exploit_returns)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict()`."""
        self.num_episodes = state["num_episodes"]
        self.exploit_returns.clear()
        self.exploit_returns.extend(state["exploit_returns"])

    def _clear(self) -> None:
        self._episodes: list[EpisodeResult] = []
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)
