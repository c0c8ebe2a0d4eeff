"""The corridor: its rules against a plain walk, and how hopeless blind play is, computed exactly."""

from __future__ import annotations

import numpy as np
import pytest

from meme57.envs import corridor


def cell_of(frame: np.ndarray) -> int:
    """The cell that a 24 x 20 picture shows: 6 x 5 pixels each, row by row."""
    rows, columns = np.nonzero(frame)
    cells = set(zip((rows // 6).tolist(), (columns // 5).tolist(), strict=True))
    assert len(cells) == 1
    assert len(rows) == 30
    assert set(frame[rows, columns].tolist()) == {255}
    row, column = cells.pop()
    return 4 * row + column


def test_spec(make_spec) -> None:
    spec = make_spec("Corridor")
    assert (spec.game, spec.rom_id, spec.num_actions) == ("Corridor", "toy_corridor", 4)
    assert spec.max_episode_frames == 176  # 44 steps of 4 frames
    assert make_spec("Corridor", max_episode_frames=100).max_episode_frames == 100
    assert make_spec("Corridor", frame_skip=2).max_episode_frames == 88


def test_equals_a_plain_walk(open_env) -> None:
    env, rng = open_env("Corridor", 5), np.random.default_rng(0)
    forward = corridor._FORWARD.tolist()
    assert len(forward) == 11
    assert set(forward) == {0, 1, 2, 3}
    walkers = [{"position": 0, "time": 0, "ended": False} for _ in range(5)]
    assert [cell_of(frame) for frame in env.reset(seed=3)] == [0] * 5
    num_ends = {"terminated": 0, "truncated": 0}
    for _ in range(400):
        helped = rng.random(5) < 0.45
        right = [forward[min(w["position"], 10)] for w in walkers]
        actions = np.where(helped, right, rng.integers(4, size=5))
        result = env.step(actions)
        for i, w in enumerate(walkers):
            if w["ended"]:
                w.update(position=0, time=0, ended=False)
                expected = (0.0, False, False, True)
            else:
                w["position"] = w["position"] + 1 if actions[i] == right[i] else max(0, w["position"] - 1)
                w["time"] += 1
                terminated = w["position"] == 11
                truncated = not terminated and w["time"] == 44
                w["ended"] = terminated or truncated
                num_ends["terminated"] += terminated
                num_ends["truncated"] += truncated
                expected = (float(terminated), terminated, truncated, False)
            got = (result.reward[i], result.terminated[i], result.truncated[i], result.is_reset[i])
            assert got == expected
            assert cell_of(result.observation[i]) == w["position"]
    assert min(num_ends.values()) > 0


def success_probability(probability_forward: list[float], num_steps: int = 44) -> float:
    """Exactly, by propagating the distribution over cells; the far end absorbs."""
    state = np.zeros(12)
    state[0] = 1.0
    for _ in range(num_steps):
        after = np.zeros(12)
        after[11] = state[11]
        for cell in range(11):
            after[cell + 1] += state[cell] * probability_forward[cell]
            after[max(0, cell - 1)] += state[cell] * (1 - probability_forward[cell])
        state = after
    return float(state[11])


def test_a_random_walk_is_hopeless() -> None:
    # the probability that the docstring states
    assert success_probability([0.25] * 11) == pytest.approx(5.1e-5, rel=0.01)


def test_constant_actions_are_hopeless_with_any_exploration_rate_of_the_ladder() -> None:
    forward = corridor._FORWARD.tolist()
    for action in range(4):
        greedy = [1.0 if f == action else 0.0 for f in forward]
        assert success_probability(greedy) == 0.0
        for epsilon in (0.05, 0.2, 0.4, 1.0):
            assert success_probability([(1 - epsilon) * g + epsilon / 4 for g in greedy]) < 1e-3


def test_knowing_the_way_is_enough(open_env) -> None:
    assert success_probability([1.0] * 11) == 1.0
    env = open_env("Corridor", 1)
    env.reset(seed=0)
    rewards = [env.step(np.array([action])).reward[0] for action in corridor._FORWARD]
    assert rewards == [0.0] * 10 + [1.0]


def test_the_probability_agrees_with_play(open_env) -> None:
    """The exact computation against 400 episodes of half-informed play."""
    env, rng = open_env("Corridor", 400), np.random.default_rng(1)
    frames = env.reset(seed=0)
    reached = np.zeros(400, bool)
    cells = np.zeros(400, np.int64)
    alive = np.ones(400, bool)
    for _ in range(44):
        right = corridor._FORWARD[np.minimum(cells, 10)]
        result = env.step(np.where(rng.random(400) < 0.5, right, (right + 1) % 4))
        reached |= alive & result.terminated
        alive &= ~(result.terminated | result.truncated)
        frames = result.observation
        cells = np.array([cell_of(frame) for frame in frames])
    expected = success_probability([0.5] * 11)
    assert reached.mean() == pytest.approx(expected, abs=4 * (expected * (1 - expected) / 400) ** 0.5 + 1e-3)
    assert not alive.any()
