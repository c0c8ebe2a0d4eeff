"""The games of our own: their rules against plain walks, and how hopeless blind play is, computed exactly."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest

from meme57.envs import toys
from meme57.envs.tabular import Table, success_probability
from meme57.errors import EnvironmentSetupError

LADDER = ("Corridor", "DeepSea5", "DeepSea10", "DeepSea20", "DeepSea30", "KeyDoor")


def uniform(table: Table) -> np.ndarray:
    return np.full(table.following.shape, 1 / len(table.actions))


def shortest_way(table: Table) -> list[int]:
    """Actions from the first state to the first reward above zero, by breadth-first search."""
    ways, queue = {0: []}, deque([0])
    while queue:
        state = queue.popleft()
        for action in range(len(table.actions)):
            way = [*ways[state], action]
            if table.reward[state, action] > 0:
                return way
            after = int(table.following[state, action])
            if not table.terminal[state, action] and after not in ways:
                ways[after] = way
                queue.append(after)
    raise AssertionError("no reward can be reached")


def test_the_ladder_is_the_list_of_games_of_our_own() -> None:
    from meme57.config.games import TOY_GAMES

    assert set(TOY_GAMES) == set(toys._BUILDERS) == set(LADDER)


@pytest.mark.parametrize(
    ("game", "rom_id", "actions", "steps"),
    [("Corridor", "toy_corridor", 4, 44), ("DeepSea10", "toy_deep_sea_10", 2, 10), ("KeyDoor", "toy_key_door", 4, 70)],
)
def test_spec(make_spec, game: str, rom_id: str, actions: int, steps: int) -> None:
    spec = make_spec(game)
    assert (spec.game, spec.rom_id, spec.num_actions) == (game, rom_id, actions)
    assert spec.max_episode_frames == 4 * steps
    assert make_spec(game, max_episode_frames=20).max_episode_frames == 20
    assert make_spec(game, frame_skip=2).max_episode_frames == 2 * steps


def test_frames_too_small_to_show_the_game_are_refused(make_spec) -> None:
    with pytest.raises(EnvironmentSetupError, match=r"DeepSea30 has 30 x 30 cells.*env.height=30"):
        make_spec("DeepSea30", height=30, width=29)
    assert make_spec("DeepSea30", height=30, width=30).height == 30


# probability of success of random play in one episode, as the docstrings state it; and the length of the way
ODDS = {
    "Corridor": (5.1e-5, 11),
    "DeepSea5": (2**-5, 5),
    "DeepSea10": (2**-10, 10),
    "DeepSea20": (2**-20, 20),
    "DeepSea30": (2**-30, 30),
    "KeyDoor": (5.5e-6, 32),
}


@pytest.mark.parametrize("game", LADDER)
def test_odds_of_random_play_and_length_of_the_way(game: str) -> None:
    table = toys.toy(game)
    assert success_probability(table, uniform(table)) == pytest.approx(ODDS[game][0], rel=0.02)
    assert len(shortest_way(table)) == ODDS[game][1]


@pytest.mark.parametrize("game", [game for game in LADDER if game != "DeepSea5"])
def test_constant_actions_are_hopeless_with_any_exploration_rate_of_the_ladder(game: str) -> None:
    table = toys.toy(game)
    for action in range(len(table.actions)):
        constant = np.eye(len(table.actions))[np.full(len(table.following), action)]
        assert success_probability(table, constant) == 0.0
        for epsilon in (0.05, 0.2, 0.4):
            assert success_probability(table, (1 - epsilon) * constant + epsilon * uniform(table)) < 1e-3


@pytest.mark.parametrize("game", LADDER)
def test_knowing_the_way_is_enough(open_env, game: str) -> None:
    table = toys.toy(game)
    way = shortest_way(table)
    env = open_env(game, 1, height=32, width=32)
    env.reset(seed=0)
    results = [env.step(np.array([action])) for action in way]
    assert results[-1].reward[0] > 0.9
    assert results[-1].terminated[0]
    assert not any(result.terminated[0] or result.truncated[0] for result in results[:-1])
    assert sum(float(result.reward[0]) for result in results) > 0.98


def test_the_probability_agrees_with_play(open_env) -> None:
    """The exact computation against 400 episodes of half-informed play."""
    table = toys.corridor()
    forward = table.following.argmax(1)  # in every cell but the last, one action leads forward
    policy = 0.5 * np.eye(4)[forward] + 0.5 * np.eye(4)[(forward + 1) % 4]
    env, rng = open_env("Corridor", 400), np.random.default_rng(1)
    env.reset(seed=0)
    reached, alive = np.zeros(400, bool), np.ones(400, bool)
    for _ in range(44):
        right = forward[env.state]
        result = env.step(np.where(rng.random(400) < 0.5, right, (right + 1) % 4))
        reached |= alive & result.terminated
        alive &= ~(result.terminated | result.truncated)
    expected = success_probability(table, policy)
    assert 0.1 < expected < 0.9
    assert reached.mean() == pytest.approx(expected, abs=4 * (expected * (1 - expected) / 400) ** 0.5)
    assert not alive.any()


class PlainCorridor:
    """Written again, without tables."""

    def __init__(self) -> None:
        self.way = shortest_way(toys.corridor())
        self.position = self.time = 0

    def step(self, action: int) -> tuple[float, bool]:
        forward = action == self.way[min(self.position, 10)]
        self.position = self.position + 1 if forward else max(0, self.position - 1)
        return float(self.position == 11), self.position == 11


class PlainDeepSea:
    def __init__(self) -> None:
        self.right = np.random.default_rng(57).integers(2, size=100)
        self.row = self.column = self.time = 0

    def step(self, action: int) -> tuple[float, bool]:
        goes_right = action == self.right[10 * self.row + self.column]
        at_treasure = goes_right and self.row == 9 and self.column == 9
        self.column = min(self.column + 1, 9) if goes_right else max(self.column - 1, 0)
        self.row += 1
        return float(at_treasure) - 0.001 * goes_right, self.row == 10


class PlainKeyDoor:
    def __init__(self) -> None:
        self.row, self.column, self.has_key, self.time = 6, 6, False, 0

    def step(self, action: int) -> tuple[float, bool]:
        row = self.row + (-1, 1, 0, 0)[action]
        column = self.column + (0, 0, -1, 1)[action]
        inside = 0 <= row < 7 and 0 <= column < 15
        through_wall = column == 7 and (row != 3 or not self.has_key)
        if inside and not through_wall:
            self.row, self.column = row, column
        self.has_key |= (self.row, self.column) == (0, 0)
        at_goal = (self.row, self.column) == (6, 14)
        return float(at_goal), at_goal


@pytest.mark.parametrize(
    ("game", "plain", "limit"), [("Corridor", PlainCorridor, 44), ("DeepSea10", PlainDeepSea, 10**9),
                                 ("KeyDoor", PlainKeyDoor, 70)],
)  # fmt: skip
def test_equals_a_plain_walk(open_env, game: str, plain: type, limit: int) -> None:
    """Rewards, ends and resets of five environments against the rules written again."""
    env, rng = open_env(game, 5), np.random.default_rng(0)
    env.reset(seed=3)
    walkers, ended = [plain() for _ in range(5)], [False] * 5
    way = shortest_way(toys.toy(game))
    num_ends = {"terminated": 0, "truncated": 0}
    for _ in range(600):
        helpful = [way[min(w.time, len(way) - 1)] for w in walkers]
        actions = np.where(rng.random(5) < 0.9, helpful, rng.integers(env.spec.num_actions, size=5))
        result = env.step(actions)
        for i in range(5):
            if ended[i]:
                walkers[i], expected = plain(), (0.0, False, False, True)
            else:
                reward, terminated = walkers[i].step(int(actions[i]))
                walkers[i].time += 1
                truncated = not terminated and walkers[i].time == limit
                num_ends["terminated"] += terminated
                num_ends["truncated"] += truncated
                expected = (pytest.approx(reward), terminated, truncated, False)
            ended[i] = expected[1] or expected[2]
            got = (result.reward[i], result.terminated[i], result.truncated[i], result.is_reset[i])
            assert got == expected
    assert num_ends["terminated"] > 0
    assert num_ends["truncated"] > 0 or limit == 10**9


def test_pictures_show_the_visited_cell_alone(open_env) -> None:
    env = open_env("Corridor", 1)  # 24 x 20 pixels: cells of 6 x 5
    frame = env.reset(seed=0)[0]
    assert frame[:6, :5].tolist() == [[255] * 5] * 6
    assert frame.sum() == 255 * 30
    frame = env.step(np.array([shortest_way(toys.corridor())[0]])).observation[0]
    assert frame[:6, 5:10].tolist() == [[255] * 5] * 6
    assert frame.sum() == 255 * 30


def test_every_state_of_a_game_looks_different() -> None:
    for game in LADDER:
        pictures = toys.toy(game).pictures(32, 32)
        assert len(np.unique(pictures.reshape(len(pictures), -1), axis=0)) == len(pictures), game


def test_only_the_bottom_of_the_deep_sea_is_black_and_ends_the_episode() -> None:
    table = toys.deep_sea(5)
    (bottom,) = np.flatnonzero((table.grid == 0).all((1, 2)))
    np.testing.assert_array_equal(table.terminal[:-1], table.following[:-1] == bottom)


def test_the_key_disappears_and_the_door_opens() -> None:
    table = toys.key_and_door()
    state = 0
    for action in shortest_way(table)[:12]:  # six up and six to the left, in some order
        state = int(table.following[state, action])
    before, after = table.grid[0], table.grid[state]
    assert (before[0, 0], before[3, 7], before[6, 6]) == (toys.KEY, toys.DOOR, toys.WHITE)
    assert (after[0, 0], after[3, 7], after[6, 14]) == (toys.WHITE, 0, toys.GOAL)
    assert (table.grid == toys.KEY).any((1, 2)).sum() == (table.grid == toys.DOOR).any((1, 2)).sum()
