"""The bandit against a list that is searched anew each time, its frequencies, and its saved state."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from meme57.agent.bandit import SlidingWindowUCB, epsilon_ladder


def bandit(num_arms: int = 4, *, window: int = 10, beta: float = 1.0, epsilon: float = 0.0, seed: int = 0):
    return SlidingWindowUCB(num_arms, window=window, beta=beta, epsilon=epsilon, seed=seed)


def naive_choice(plays: list[tuple[int, float]], num_arms: int, window: int, beta: float) -> int:
    """The arm of the largest windowed mean + beta sqrt(1 / n); an arm without a play in the window goes first."""
    scores = []
    for arm in range(num_arms):
        rewards = [reward for played, reward in plays[-window:] if played == arm]
        scores.append(sum(rewards) / len(rewards) + beta * (1 / len(rewards)) ** 0.5 if rewards else float("inf"))
    return scores.index(max(scores))


def test_first_sweep_tries_each_arm_once() -> None:
    ucb = bandit(5, epsilon=1.0)
    chosen = []
    for _ in range(5):
        chosen.append(ucb.select())
        ucb.update(chosen[-1], 0.0)
    assert chosen == [0, 1, 2, 3, 4]


def test_a_sweep_begins_where_it_is_told_and_takes_up_arms_that_left_the_window_in_that_order() -> None:
    ucb = SlidingWindowUCB(4, window=3, beta=0.0, epsilon=0.0, seed=0, first_arm=2)
    chosen = []
    for _ in range(6):
        chosen.append(ucb.select())
        ucb.update(chosen[-1], 0.0)
    assert chosen == [2, 3, 0, 1, 2, 3]


def test_arms_count_when_selected_so_that_a_shared_bandit_sweeps_on() -> None:
    ucb = bandit(4)
    assert [ucb.select() for _ in range(4)] == [0, 1, 2, 3]


def test_score_by_hand() -> None:
    # arm 0: mean (1 + 0) / 2 = 0.5, n = 2: 0.5 + beta 0.7071;  arm 1: mean 0.6, n = 1: 0.6 + beta
    # beta = 0: arm 1 (0.6);  after arm 1 gets 0.1: mean 0.35, arm 0 (0.5)
    ucb = bandit(2, beta=0.0)
    for arm, reward in ((0, 1.0), (0, 0.0), (1, 0.6)):
        ucb.update(arm, reward)
    assert ucb.select() == 1
    ucb.update(1, 0.1)
    assert ucb.select() == 0


def test_the_bonus_has_no_logarithm() -> None:
    # arm 0: mean 1, n = 4: 1 + 3 / 2 = 2.5;  arm 1: mean 0, n = 1: 0 + 3 = 3 > 2.5;  with mean -0.6: 2.4 < 2.5
    for mean, best in ((0.0, 1), (-0.6, 0)):
        ucb = bandit(2, beta=3.0)
        for _ in range(4):
            ucb.update(0, 1.0)
        ucb.update(1, mean)
        assert ucb.select() == best


@pytest.mark.parametrize(("window", "beta"), [(4, 0.5), (10, 1.0), (200, 0.2)])
def test_equals_a_search_through_the_list(window: int, beta: float) -> None:
    ucb, rng = bandit(6, window=window, beta=beta), np.random.default_rng(1)
    plays: list[tuple[int, float]] = []
    for _ in range(150):
        arm = ucb.select()
        assert arm == naive_choice(plays, 6, window, beta)
        reward = float(rng.normal(arm, 3.0))
        ucb.update(arm, reward)
        plays.append((arm, reward))


def test_old_plays_leave_the_window() -> None:
    ucb = bandit(2, window=3, beta=0.0)
    for arm, reward in ((0, 100.0), (1, 1.0), (0, 0.0), (1, 1.0)):
        ucb.update(arm, reward)
    assert ucb.select() == 1  # the 100 is gone: means 0 and 1


def test_an_arm_that_left_the_window_is_tried_again() -> None:
    ucb = bandit(2, window=3, beta=0.0)
    ucb.update(1, -5.0)
    for _ in range(3):
        ucb.update(0, 10.0)
    assert ucb.select() == 1


@pytest.mark.parametrize(("epsilon", "low", "high"), [(0.0, 1.0, 1.0), (0.5, 0.58, 0.67), (1.0, 0.21, 0.29)])
def test_share_of_the_best_arm(epsilon: float, low: float, high: float) -> None:
    # (1 - eps) + eps / 4; with 3000 draws three standard errors are 0.027
    ucb = bandit(4, window=10_000, beta=0.0, epsilon=epsilon)
    counts: Counter[int] = Counter()
    for step in range(3004):
        arm = ucb.select()
        ucb.update(arm, 1.0 if arm == 2 else 0.0)
        counts[arm] += step >= 4
    assert low <= counts[2] / 3000 <= high
    if epsilon == 1.0:
        assert min(counts.values()) > 600


def test_restored_state_goes_on_identically() -> None:
    rng = np.random.default_rng(0)
    rewards = rng.normal(size=200)
    first = bandit(5, window=20, epsilon=0.5, seed=7)
    for reward in rewards[:50]:
        first.update(first.select(), reward)
    first.select()  # one play is open
    second = bandit(5, window=20, epsilon=0.5, seed=99)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for reward in rewards[50:]:
        arm = first.select()
        assert second.select() == arm
        first.update(arm, reward)
        second.update(arm, reward)


def test_forgotten_plays_are_tried_again_after_those_that_were_never_selected() -> None:
    """Else 8 environments whose episodes are always cut would play the first 8 of 16 policies for ever."""
    ucb = bandit(3)
    assert [ucb.select(), ucb.select()] == [0, 1]
    ucb.forget_pending()
    other = bandit(3)
    other.load_state_dict(ucb.state_dict())
    assert [ucb.select() for _ in range(2)] == [other.select() for _ in range(2)] == [2, 0]
    ucb.forget_pending()
    assert ucb.select() == 1


def test_ladder_by_hand() -> None:
    # 0.4^(1 + 7 i / 2): i = 0: 0.4, i = 1: 0.4^4.5, i = 2: 0.4^8
    assert epsilon_ladder(3, base=0.4, alpha=7.0).tolist() == pytest.approx([0.4, 0.4**4.5, 0.4**8])
    assert epsilon_ladder(1, base=0.4, alpha=7.0).tolist() == [0.4]
    assert epsilon_ladder(2, base=0.4, alpha=7.0).tolist() == pytest.approx([0.4, 0.4**8])


def test_a_shared_window_and_what_others_selected_count_like_own_plays() -> None:
    bandit = SlidingWindowUCB(3, window=10, beta=0.0, epsilon=0.0, seed=0)
    bandit.share([], [1, 1, 0])  # two others sweep arms 0 and 1
    assert bandit.select() == 2
    bandit.share([(0, 1.0), (1, 5.0), (2, 0.0)], [0, 0, 0])
    assert bandit.select() == 1
    assert bandit.pending == [0, 1, 1]
    assert bandit.plays == [(0, 1.0), (1, 5.0), (2, 0.0)]


def test_a_play_that_is_open_does_not_make_the_choice_random() -> None:
    ucb = bandit(3, beta=0.0)
    assert [ucb.select() for _ in range(3)] == [0, 1, 2]
    ucb.update(0, 1.0)  # 1 and 2 are still being played
    assert [ucb.select() for _ in range(20)] == [0] * 20
