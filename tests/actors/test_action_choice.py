"""Which action is taken: probabilities by hand and by count, and noise that is kept."""

from __future__ import annotations

import math

import numpy as np
import pytest

from meme57.actors.exploration import KeptNoise, draw, explore, softmax


def test_explore_by_hand() -> None:
    # eps 0.4, A = 4: greedy 0.1 + 0.6 = 0.7, another 0.1
    greedy, epsilons = np.zeros(20_000, np.int64), np.full(20_000, 0.4)
    actions, mu = explore(greedy, epsilons, 4, np.random.default_rng(0))
    assert mu.dtype == np.float32
    for action in range(4):
        share = (actions == action).mean()
        expected = 0.7 if action == 0 else 0.1
        assert share == pytest.approx(expected, abs=4 * math.sqrt(0.25 / 20_000))
        assert mu[actions == action] == pytest.approx(expected)


def test_explore_ends_and_each_environment_has_its_own_rate() -> None:
    greedy, epsilons = np.tile([2, 1], 500), np.tile([0.0, 1.0], 500)
    actions, mu = explore(greedy, epsilons, 3, np.random.default_rng(0))
    assert (actions[::2] == 2).all()
    assert (mu[::2] == 1.0).all()
    assert np.bincount(actions[1::2], minlength=3).min() > 120
    assert mu[1::2] == pytest.approx(1 / 3)


def test_a_drawn_action_has_the_probability_of_the_policy_and_of_exploring() -> None:
    # softmax([2, 0, 1] / 0.5) by hand: exp(4), exp(0), exp(2)
    weights = np.exp([4.0, 0.0, 2.0])
    logits, noise = np.tile(np.float32([2.0, 0.0, 1.0]), (30_000, 1)), np.random.default_rng(0).gumbel(size=(30_000, 3))
    drawn, policy = draw(logits, 0.5, noise), softmax(logits, 0.5)
    assert policy[0] == pytest.approx(weights / weights.sum())
    actions, mu = explore(drawn, 0.3, 3, np.random.default_rng(1), policy=policy)
    for action in range(3):
        expected = 0.1 + 0.7 * policy[0, action]
        assert (actions == action).mean() == pytest.approx(expected, abs=4 * math.sqrt(0.25 / 30_000))
        assert mu[actions == action] == pytest.approx(expected)


def test_drawing_survives_large_logits_and_nears_the_argmax() -> None:
    logits = np.float32([[1e6, 0.0], [0.0, 1e-3]])
    drawn = draw(np.repeat(logits, 500, axis=0), 1e-5, np.random.default_rng(0).gumbel(size=(1_000, 2)))
    assert (drawn[:500] == 0).all()
    assert (drawn[500:] == 1).all()
    assert np.isfinite(softmax(logits, 1e-5)).all()


def test_noise_is_kept_where_the_policy_does_not_care_and_draws_follow_the_policy() -> None:
    policy = np.array([[1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.7, 0.2, 0.1]])
    # Perplexities by hand: 3, 2, 1 and exp(0.7 ln(1 / 0.7) + 0.2 ln 5 + 0.1 ln 10) = 2.2296; kept: 7/8 of (p - 1) / 2.
    kept = np.array([0.875, 0.4375, 0.0, 0.5380])
    noise, steps = KeptNoise((4, 3), steps=8.0, rng=np.random.default_rng(0)), 40_000
    noise.renew(np.ones(4, np.bool_))
    history, drawn = np.empty((steps, 4, 3)), np.empty((steps, 4), np.int64)
    for t in range(steps):
        history[t] = noise.next(policy)
        drawn[t] = draw(np.log(np.maximum(policy, 1e-30)).astype(np.float32), 1.0, history[t])
    unchanged = (history[1:] == history[:-1]).all(-1).mean(0)
    assert unchanged == pytest.approx(kept, abs=4 * math.sqrt(0.25 / steps))
    for env, share in enumerate(kept):
        independent = steps * (1.0 - share) / (1.0 + share)  # a mean of values that stay varies as one of so many
        shares = np.bincount(drawn[:, env], minlength=3) / steps
        assert shares == pytest.approx(policy[env], abs=4 * math.sqrt(0.25 / independent)), env


def test_environments_explore_independently() -> None:
    actions, _ = explore(np.zeros(1_000, np.int64), 0.5, 4, np.random.default_rng(0))
    assert 330 < np.count_nonzero(actions) < 420  # 1,000 x 1/2 x 3/4 = 375, standard deviation 15
