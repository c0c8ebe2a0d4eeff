"""Means between two log lines, by hand."""

from __future__ import annotations

import json

import pytest
import torch

from meme57.actors import EpisodeResult
from meme57.learning.statistics import EXPLOIT_WINDOW, TrainingStatistics


def episode(policy: int, extrinsic: float, num_steps: int = 10, epsilon: float = 0.01) -> EpisodeResult:
    return EpisodeResult(policy, extrinsic, num_steps, extrinsic / 2, extrinsic / 4, epsilon)


def test_row_by_hand_and_starting_over() -> None:
    statistics = TrainingStatistics()
    statistics.add_episodes([episode(0, 4.0), episode(2, 1.0, 40), episode(2, 1.0)])
    for value in (1.0, 2.0, 6.0):
        statistics.add_update({"loss/total": torch.tensor(value)})
    statistics.add_update({})  # skipped
    assert statistics.row() == {
        "loss/total": 3.0, "episodes/count": 3.0, "episodes/finished": 3.0, "episodes/return": 2.0,
        "episodes/length_steps": 20.0, "policy_episodes/0": 1.0,
        "policy_episodes/2": 2.0, "episodes/return_exploit": 4.0, "value/predicted": 1.0, "value/returned": 2.0,
    }  # fmt: skip
    assert statistics.row() == {"episodes/count": 3.0, "episodes/finished": 0.0}


def test_only_nearly_greedy_episodes_of_policy_0_tell_whether_values_come_true() -> None:
    statistics = TrainingStatistics()
    others = [episode(0, 4.0, epsilon=0.4), episode(1, 4.0)]
    statistics.add_episodes([*others, episode(0, 1.0)])
    row = statistics.row()
    assert (row["value/predicted"], row["value/returned"]) == (0.25, 0.5)
    assert row["episodes/return_exploit"] == 2.5
    statistics.add_episodes(others)
    assert not {"value/predicted", "value/returned"} & set(statistics.row())


def test_returns_of_drawn_actions_are_not_compared_with_what_the_best_ones_promise() -> None:
    statistics = TrainingStatistics(actions_are_drawn=True)
    statistics.add_episodes([episode(0, 1.0)])
    row = statistics.row()
    assert row["episodes/return_exploit"] == 1.0
    assert not {"value/predicted", "value/returned"} & set(row)


def test_later_changes_of_a_metric_do_not_reach_back() -> None:
    statistics, value = TrainingStatistics(), torch.tensor(1.0)
    statistics.add_update({"x": value})
    value.add_(100.0)
    assert statistics.row()["x"] == 1.0


def test_score_is_the_mean_of_the_last_exploiting_episodes() -> None:
    statistics = TrainingStatistics()
    assert statistics.exploit_score is None
    statistics.add_episodes([episode(1, 99.0)])
    assert statistics.exploit_score is None
    statistics.add_episodes(episode(0, float(i)) for i in range(EXPLOIT_WINDOW + 5))
    assert statistics.exploit_score == pytest.approx(sum(range(5, EXPLOIT_WINDOW + 5)) / EXPLOIT_WINDOW)


def test_state_round_trip() -> None:
    first, second = TrainingStatistics(), TrainingStatistics()
    first.add_episodes([episode(0, 4.0), episode(1, 1.0)])
    first.row()
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert second.exploit_score == 4.0
    assert second.row() == first.row() == {"episodes/count": 2.0, "episodes/finished": 0.0}
