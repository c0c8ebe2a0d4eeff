"""The bandit's policy is read from a checkpoint's state."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meme57.checkpoints.best_explorer import bandit_policy, best_arm
from meme57.errors import CheckpointError


def write(folder: Path, *bandits: list[list[float]]) -> Path:
    actors = [{"bandits": [{"plays": plays, "pending": [0, 0, 0]}]} for plays in bandits]
    (folder / "state.json").write_text(json.dumps({"pool": {"actors": actors}}))
    return folder


def test_the_highest_mean_wins_and_ties_go_to_the_lower_number() -> None:
    assert best_arm([(0, 1.0), (2, 5.0), (2, 1.0), (1, 2.0)]) == 2  # means 1, 2, 3
    assert best_arm([(2, 1.0), (1, 1.0)]) == 1
    assert best_arm([(1, -3.0), (0, -4.0)]) == 1
    assert best_arm([]) is None


def test_all_windows_count_and_a_shared_one_once(tmp_path: Path) -> None:
    assert bandit_policy(write(tmp_path, [[0, 4.0]], [[1, 9.0], [1, 1.0]])) == 1
    shared = [[0, 4.0], [1, 9.0], [1, 0.0]]
    alike = [{"bandits": [{"plays": [[0, 1.0]], "random": number}]} for number in range(2)]
    other = {"bandits": [{"plays": [[0, 7.0], [1, 3.5]], "random": 2}]}  # 0: (1 + 1 + 7) / 3, or once (1 + 7) / 2
    (tmp_path / "state.json").write_text(json.dumps({"pool": {"actors": [*alike, other]}}))
    assert bandit_policy(tmp_path) == 1
    assert bandit_policy(write(tmp_path, shared, shared)) == 1
    assert bandit_policy(write(tmp_path, [])) is None


@pytest.mark.parametrize("text", ["[1", "{}", '{"pool": {"actors": [{"bandits": [{"plays": [1]}]}]}}'])
def test_a_damaged_state_says_so(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(CheckpointError, match="damaged"):
        bandit_policy(tmp_path)


def test_the_bandit_that_actors_on_ray_share_counts_once(tmp_path: Path) -> None:
    driver = {"bandit": {"plays": [[0, 1.0], [1, 3.0]]}, "actors": [{"bandits": [{"plays": [[0, 1.0], [1, 3.0]]}]}]}
    (tmp_path / "state.json").write_text(json.dumps({"pool": driver}))
    assert bandit_policy(tmp_path) == 1
    behind = {**driver, "actors": [{"bandits": [{"plays": [[0, 9.0], [0, 1.0]]}]}]}  # the copy of some rounds ago
    (tmp_path / "state.json").write_text(json.dumps({"pool": behind}))
    assert bandit_policy(tmp_path) == 1
    own = {"bandit": None, "actors": [{"bandits": [{"plays": [[0, 7.0], [1, 3.0]]}]}]}
    (tmp_path / "state.json").write_text(json.dumps({"pool": own}))
    assert bandit_policy(tmp_path) == 0
