"""The exploration ladder: small built-in games, from one that random play solves to those that need novelty.

Each is a table, so the odds of random play are computed exactly (`tabular.success_probability`), not guessed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from meme57.envs.tabular import Table

WHITE, GOAL, KEY, DOOR, WALL = 255, 200, 160, 120, 60
MOVES = {"UP": (-1, 0), "DOWN": (1, 0), "LEFT": (0, -1), "RIGHT": (0, 1)}
Cell = tuple[int, int]


def corridor(length: int = 11) -> Table:
    """Make a corridor of 11 steps, folded into a picture of 4 x 4 cells, with a reward of 1 only at its far end.

    In each cell one of four actions leads forward and the others lead one cell back. Which one differs between cells
    but never changes. Random play moves back with probability 3/4 per step, and reaches the end within an episode's 44
    steps with probability 5.1e-5. A constant action never does. New cells within an episode are novel, so the episodic
    reward pays for every step forward.
    """
    cells = np.arange(length + 1)
    forward = np.random.default_rng(57).integers(4, size=length)
    is_forward = np.append(forward, -1)[:, None] == np.arange(4)
    following = np.clip(cells[:, None] + np.where(is_forward, 1, -1), 0, length)
    terminal = is_forward & (following == length)
    grid = np.zeros((length + 1, 16), dtype=np.uint8)
    grid[cells, cells] = WHITE
    return Table(
        actions=("ONE", "TWO", "THREE", "FOUR"),
        following=following,
        reward=terminal.astype(np.float32),
        terminal=terminal,
        max_steps=4 * length,
        grid=grid.reshape(-1, 4, 4),
    )


def deep_sea(depth: int) -> Table:
    """Make a deep sea: every step sinks one row, and only `depth` consecutive steps right reach the treasure, worth 1.

    A step to the right costs 0.01 / depth, so the reward alone teaches to stay left. Which of the two actions leads to
    the right differs between cells. Random play finds the treasure with probability 2^-depth per episode. Within an
    episode no cell is seen twice, so episodic novelty cannot tell the cells apart: lifelong novelty has to. The bottom
    is a black picture everywhere, because an end that looked like a cell would use up that cell's novelty.
    Source: Osband et al., 2020 (bsuite, deep sea).
    """
    rows, columns = (index.ravel() for index in np.indices((depth, depth)))
    right_action = np.random.default_rng(57).integers(2, size=depth * depth)
    is_right = right_action[:, None] == np.arange(2)
    column = np.clip(columns[:, None] + np.where(is_right, 1, -1), 0, depth - 1)
    treasure = is_right & ((rows == depth - 1) & (columns == depth - 1))[:, None]
    bottom = depth * depth  # the last state; nothing starts from it
    following = np.minimum((rows[:, None] + 1) * depth + column, bottom)
    reward = treasure - np.where(is_right, 0.01 / depth, 0.0)
    return Table(
        actions=("ONE", "TWO"),
        following=np.append(following, [[bottom] * 2], axis=0),
        reward=np.append(reward, [[0.0] * 2], axis=0).astype(np.float32),
        terminal=np.append(following == bottom, [[True] * 2], axis=0),
        max_steps=depth,
        grid=(np.eye(bottom + 1, bottom, dtype=np.uint8) * WHITE).reshape(-1, depth, depth),
    )


def key_and_door(side: int = 7, max_steps: int = 70) -> Table:
    """Make two rooms: the key is in the far corner of the first, the goal, worth 1, in the far corner of the second.

    The door between them opens only with the key. The way is 32 steps long. Random play finds the goal within an
    episode's 70 steps with probability 5.5e-6.
    """
    start, key, door, goal = (side - 1, side - 1), (0, 0), (side // 2, side), (side - 1, 2 * side)
    cells = [(row, column) for row in range(side) for column in range(2 * side + 1) if column != side or row == door[0]]
    states = [(start, False), *((c, k) for k in (False, True) for c in cells if (c, k) != (start, False))]
    number = {state: i for i, state in enumerate(states)}
    following = np.zeros((len(states), len(MOVES)), dtype=np.int64)
    for i, (cell, has_key) in enumerate(states):
        for action, (down, right) in enumerate(MOVES.values()):
            ahead = (cell[0] + down, cell[1] + right)
            is_free = ahead in cells and (has_key or ahead != door)
            after = ahead if is_free else cell
            following[i, action] = number[after, has_key or after == key]
    at_goal = np.array([cell == goal for cell, _ in states])
    return Table(
        actions=tuple(MOVES),
        following=following,
        reward=at_goal[following].astype(np.float32),
        terminal=at_goal[following],
        max_steps=max_steps,
        grid=np.stack([_room(side, cell, has_key, key, door, goal) for cell, has_key in states]),
    )


def _room(side: int, cell: Cell, has_key: bool, key: Cell, door: Cell, goal: Cell) -> npt.NDArray[np.uint8]:
    """Draw one state, [side, 2 side + 1]: while the key is carried, it is not shown and the door is open."""
    grid = np.zeros((side, 2 * side + 1), dtype=np.uint8)
    grid[:, side] = WALL
    grid[door] = 0 if has_key else DOOR
    grid[goal] = GOAL
    if not has_key:
        grid[key] = KEY
    grid[cell] = WHITE
    return grid


_BUILDERS: dict[str, Callable[[], Table]] = {
    "Corridor": corridor,
    "DeepSea5": functools.partial(deep_sea, 5),
    "DeepSea10": functools.partial(deep_sea, 10),
    "DeepSea20": functools.partial(deep_sea, 20),
    "DeepSea30": functools.partial(deep_sea, 30),
    "KeyDoor": key_and_door,
}


@functools.cache
def toy(game: str) -> Table:
    """Return the table of a built-in game, by its canonical name."""
    return _BUILDERS[game]()
