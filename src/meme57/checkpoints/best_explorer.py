"""The policy of the family that the bandit preferred when a checkpoint was written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from meme57.errors import CheckpointError
from meme57.files import read_json

STATE = "state.json"


def bandit_policy(checkpoint: Path) -> int | None:
    """Return the policy with the highest mean return over all plays in the bandits' windows; None if none was played.

    Ties go to the lower number, the policy that explores less. If the bandit is switched off, its windows still record
    the plays. Source: ours.

    Raises:
        CheckpointError: the checkpoint's state is missing or damaged.
    """
    path = checkpoint / STATE
    tree = read_json(path)
    try:
        return best_arm(list(_plays(tree["pool"])))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged: no bandit state in it ({error!r})") from error


def best_arm(plays: list[tuple[int, float]]) -> int | None:
    """Return the arm with the highest mean reward over (arm, reward) pairs."""
    rewards: dict[int, list[float]] = {}
    for arm, reward in plays:
        rewards.setdefault(arm, []).append(reward)
    return min(rewards, key=lambda arm: (-sum(rewards[arm]) / len(rewards[arm]), arm), default=None)


def _plays(tree: Any) -> Iterator[tuple[int, float]]:
    """Yield (policy, return) of every play in the bandits' windows; a bandit that several actors share counts once.

    On Ray the actors' copies of a shared bandit are older than the driver's, so only that one counts.
    """
    shared = tree.get("bandit")
    seen: list[Any] = []
    for bandit in _bandits(tree) if shared is None else [shared]:
        if bandit not in seen:  # random state and all: two bandits may have seen the same
            seen.append(bandit)
            yield from ((int(arm), float(reward)) for arm, reward in bandit["plays"])


def _bandits(tree: Any) -> Iterator[Mapping[str, Any]]:
    """Yield every bandit's state, wherever a pool keeps its actors."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from value if key == "bandits" else _bandits(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _bandits(value)
