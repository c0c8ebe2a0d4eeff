"""experiments/screen: short runs, worlds of known values, positions, and learning from a replay that stays the same."""

from __future__ import annotations

import csv
import runpy
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from meme57.config import Parameters, parse_parameters
from meme57.envs import EnvSpec, env_spec
from meme57.learning.learner import Learner
from meme57.learning.trainer import learn
from tiny_agent import TINY, changed

FOLDER = Path(__file__).parents[1] / "experiments" / "screen"
sys.path.insert(0, str(FOLDER))
SCREEN, REPLAYED, POSITIONS = (
    runpy.run_path(str(FOLDER / f"{name}.py"), run_name=name) for name in ("screen", "replayed", "positions")
)


def test_a_row_goes_only_into_a_table_of_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    for greedy in (1, 2):
        SCREEN["append_row"](path, {"name": "base", "greedy": greedy})
    assert path.read_text() == "name,greedy\nbase,1\nbase,2\n"
    with pytest.raises(ValueError, match=r"runs\.csv has the columns \['name', 'greedy'\], not"):
        SCREEN["append_row"](path, {"name": "base", "training": 3})
    assert len(path.read_text().splitlines()) == 3


def test_the_table_that_is_kept_has_the_columns_of_a_row() -> None:
    kept = next(csv.reader(SCREEN["RUNS"].open()))
    assert {"training", "greedy", "drawn", "drawn_predicted", "drawn_returned"} < set(kept)


def test_training_returns_by_hand() -> None:
    rows = [
        {"frames": 100.0, "episodes/finished": 9.0, "episodes/return": -50.0},
        {"frames": 240.0, "episodes/finished": 3.0, "episodes/return": 1.0},
        {"frames": 300.0, "episodes/finished": 0.0},
        {"frames": 400.0, "episodes/finished": 1.0, "episodes/return": 5.0},
    ]
    assert SCREEN["_second_half"](rows, 400) == 2.0
    assert SCREEN["_second_half"](rows[:1], 400) == ""


def test_whole_episodes_by_hand() -> None:
    reward = np.array([[1.0, 5.0], [2.0, 0.0], [9.0, 0.0], [4.0, 0.0], [8.0, 0.0]])  # steps of two games
    ended = np.array([[False, False], [True, False], [False, False], [True, False], [False, False]])
    idle = np.array([[False] * 2, [False] * 2, [True, False], [False] * 2, [True, False]])
    played = SCREEN["Play"](np.zeros_like(reward), reward, ended, idle)
    assert SCREEN["_whole_episodes"](played) == [3.0, 4.0]


@pytest.mark.parametrize("action", [0, 17])
def test_no_action_matters_in_a_world_of_noise(action: int) -> None:
    env = gymnasium.make("worlds:Noise-v0")
    first, _ = env.reset(seed=1)
    steps = [env.step(np.int64(action)) for _ in range(1_000)]
    other = gymnasium.make("worlds:Noise-v0")
    other.reset(seed=1)
    assert [step[1] for step in steps] == [other.step(np.int64(5))[1] for _ in range(1_000)]
    assert {step[1] for step in steps} == {-1.0, 0.0, 1.0}
    assert abs(sum(step[1] for step in steps)) < 4 * 200**0.5  # 200 rewards of +-1 on average
    assert not np.array_equal(first, steps[0][0])
    assert [step[3] for step in steps].index(True) == 999  # truncated, never terminated
    assert not any(step[2] for step in steps)


def test_one_action_of_each_place_earns_a_tenth() -> None:
    env = gymnasium.make("worlds:Choice-v0")
    world: Any = env.unwrapped
    codes = {env.reset(seed=seed)[0].tobytes() for seed in range(500)}
    assert codes == {code.tobytes() for code in world._codes}  # 64 places: each of them is missed with chance 0.0004
    for _ in range(100):
        best, place = int(world._best[world._place]), world._place
        reward = env.step(np.int64(best))[1]
        world._place = place
        other = env.step(np.int64((best + 1) % 18))[1]
        assert round(reward % 1.0, 6) == 0.1
        assert other in (-1.0, 0.0, 1.0)


def _tiny(**groups: dict[str, Any]) -> Parameters:
    return parse_parameters(changed(TINY, run={"total_frames": 800, "checkpoint_period_frames": 800}, **groups))


@pytest.fixture(scope="module", name="source")
def _source(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, EnvSpec]:
    folder, parameters = tmp_path_factory.mktemp("checkpoints"), _tiny()
    env = env_spec(parameters.env)
    list(learn(parameters, env, folder))
    return folder, env


def test_two_settings_learn_from_the_same_replay_from_states_of_zeros(source, monkeypatch) -> None:
    folder, env = source
    seen: list[Any] = []
    update = Learner.update

    def record(self: Learner, batch: Any) -> Any:
        seen.append((batch.sequence_ids.copy(), batch.lstm_state.copy()))
        return update(self, batch)

    monkeypatch.setattr(Learner, "update", record)
    learners = []
    for size in (8, 12):
        parameters = _tiny(network={"lstm_size": 8, "head_size": size})
        replay = REPLAYED["experience"](folder, parameters, env)
        learners.append(REPLAYED["teach"](parameters, env, replay, updates=2))
    assert len(replay) >= 8
    assert [learner.num_updates for learner in learners] == [2, 2]
    assert np.array_equal(seen[0][0], seen[2][0])
    assert not any(state.any() for _, state in seen)


@pytest.mark.parametrize("game", ["Breakout", "Pong"])
def test_positions_are_those_of_the_picture(game: str) -> None:
    frames, positions = POSITIONS["labelled_frames"](game, (210, 160), count=60, seed=1)
    again, _ = POSITIONS["labelled_frames"](game, (210, 160), count=60, seed=1)
    assert torch.equal(frames, again)
    pictures = frames.float() - frames.float().median(0).values  # what moves is left
    rows = slice(93, 188) if game == "Breakout" else slice(35, 193)  # between bricks and paddle; between the walls
    columns = slice(8, 152) if game == "Breakout" else slice(20, 140)  # between the walls; between the paddles
    moving = (pictures[:, rows, columns].abs() > 20).float()
    seen = moving.sum((1, 2)) > 0
    assert seen.sum() > 20
    total = moving[seen].sum((1, 2))
    y = (moving[seen] * torch.arange(moving.shape[1]).view(1, -1, 1)).sum((1, 2)) / total
    x = (moving[seen] * torch.arange(moving.shape[2])).sum((1, 2)) / total
    for found, label in ((x, positions[seen, 0]), (y, positions[seen, 1])):
        assert torch.corrcoef(torch.stack([found, label]))[0, 1] > 0.95


def test_explained_variance_by_hand() -> None:
    class Right(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.stack([images[:, 0], torch.full((len(images),), 2.0)], dim=1)

    images = torch.tensor([[1.0], [2.0], [3.0]])
    positions = torch.tensor([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
    assert POSITIONS["explained"](Right(), images, positions).tolist() == [1.0, 0.0]
