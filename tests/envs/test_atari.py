"""The protocol's options are in force on the real emulator."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from meme57.envs import StepResult, VectorEnv
from meme57.envs.atari import AtariEnv


def play(env: VectorEnv, num_steps: int, *, seed: int = 0, action_seed: int = 0) -> list[StepResult]:
    """Resets and plays random actions."""
    env.reset(seed=seed)
    rng = np.random.default_rng(action_seed)
    return [env.step(rng.integers(env.spec.num_actions, size=env.num_envs)) for _ in range(num_steps)]


def same(left: list[StepResult], right: list[StepResult]) -> bool:
    return all(
        np.array_equal(getattr(a, name), getattr(b, name)) for a, b in zip(left, right, strict=True) for name in vars(a)
    )


def test_shapes_and_dtypes(open_env) -> None:
    env = open_env("Pong", 3)
    assert env.reset(seed=0).shape == (3, 24, 20)
    result = env.step(np.zeros(3, np.int64))
    assert (result.observation.shape, result.observation.dtype) == ((3, 24, 20), np.uint8)
    assert (result.reward.shape, result.reward.dtype) == ((3,), np.float32)
    for flags in (result.terminated, result.truncated, result.is_reset):
        assert (flags.shape, flags.dtype) == ((3,), np.bool_)


def test_full_resolution_is_the_emulators(open_env) -> None:
    env = open_env("Pong", 1, height=210, width=160)
    assert env.reset(seed=0).shape == (1, 210, 160)


def test_rewards_are_not_clipped(open_env) -> None:
    rewards = np.concatenate([result.reward for result in play(open_env("Alien", 2, noop_max=4), 100)])
    assert rewards.max() >= 10  # a dot is worth ten points
    assert not set(rewards[rewards > 0].tolist()) & set(range(1, 10))


def test_a_lost_life_is_told_and_the_game_goes_on(open_env) -> None:
    results = list(play(open_env("Breakout", 4, full_action_space=False), 1_200))
    lost, ended = (
        np.array([getattr(result, name) for result in results]) for name in ("life_lost", "terminated")
    )  # [T, E]
    first = ended.argmax(0)  # each environment's first whole game
    assert ended.any(0).all()
    assert [int(lost[:end, i].sum()) for i, end in enumerate(first)] == [4] * 4  # the fifth life ends the game
    assert not (lost & ended).any()
    is_reset = np.array([result.is_reset for result in results])
    assert not (lost & is_reset).any()


def test_a_game_without_lives_loses_none(open_env) -> None:
    assert not any(result.life_lost.any() for result in play(open_env("Pong", 2), 400))


@pytest.mark.parametrize("game", ["Pong", "Breakout", "MontezumaRevenge"])
def test_action_sets(make_spec, game: str) -> None:
    full = make_spec(game)
    assert full.num_actions == len(full.action_meanings) == len(set(full.action_meanings)) == 18
    assert full.action_meanings[:6] == ("NOOP", "FIRE", "UP", "RIGHT", "LEFT", "DOWN")
    minimal = make_spec(game, full_action_space=False)
    assert minimal.num_actions == {"Pong": 6, "Breakout": 4, "MontezumaRevenge": 18}[game]


def test_action_numbers_mean_what_the_names_say(open_env, make_spec) -> None:
    """Breakout's paddle, by full and by minimal numbers: the same names give the same frames."""
    trajectories = []
    for full in (True, False):
        env = open_env("Breakout", 1, full_action_space=full)
        env.reset(seed=0)
        names = ["FIRE", *["RIGHT"] * 8, "NOOP", *["LEFT"] * 12]
        meanings = make_spec("Breakout", full_action_space=full).action_meanings
        trajectories.append([env.step(np.array([meanings.index(name)])).observation for name in names])
    assert all(np.array_equal(a, b) for a, b in zip(*trajectories, strict=True))
    assert not np.array_equal(trajectories[0][8], trajectories[0][-1])


def test_the_frame_limit_truncates_and_does_not_terminate(open_env) -> None:
    results = play(open_env("Pong", 2, max_episode_frames=400), 101)
    assert not any(result.terminated.any() for result in results)
    ends = [t for t, result in enumerate(results) if result.truncated.any()]
    assert ends == [99]  # step 100: no-ops do not count
    assert results[99].truncated.all()
    assert results[100].is_reset.all()


def test_autoreset_is_flagged_without_reward_and_ignores_its_action(open_env) -> None:
    trajectories = []
    for last_action in (0, 3):
        env = open_env("Breakout", 1, max_episode_frames=80)
        env.reset(seed=1)
        results = [env.step(np.array([1])) for _ in range(20)]
        assert [result.is_reset[0] for result in results] == [False] * 20
        assert results[-1].truncated[0]
        results.append(env.step(np.array([last_action])))
        results.append(env.step(np.array([0])))
        assert [result.is_reset[0] for result in results[-2:]] == [True, False]
        assert results[-2].reward[0] == 0.0
        assert not results[-2].terminated[0]
        assert not results[-2].truncated[0]
        trajectories.append(results)
    assert same(*trajectories)


def test_environments_reset_one_by_one(open_env) -> None:
    results = play(open_env("Breakout", 4, noop_max=4), 200)
    ended = np.stack([result.terminated | result.truncated for result in results])
    is_reset = np.stack([result.is_reset for result in results])
    assert np.array_equal(is_reset[1:], ended[:-1])
    assert not is_reset[0].any()
    assert 0 < is_reset.sum() < is_reset.size / 10


def test_losing_a_life_ends_nothing_and_all_five_do(open_env) -> None:
    """Breakout with the paddle at rest loses its five balls; the episode ends with the fifth, terminated."""
    env = open_env("Breakout", 1)
    env.reset(seed=0)
    terminated: list[int] = []
    lives: list[int] = []
    inner = env._env  # the emulator's own count of lives, which StepResult leaves out
    for t in range(600):
        observation, _, ended, truncated, info = inner.step(np.array([1]))
        assert observation.shape == (1, 1, 24, 20)
        lives.append(int(info["lives"][0]))
        assert not truncated[0]
        if ended[0]:
            terminated.append(t)
            break
    assert terminated
    assert sorted(set(lives), reverse=True) == [5, 4, 3, 2, 1, 0]
    assert terminated == [lives.index(0)]


def test_seeds_reproduce_and_differ_between_environments_and_seeds(open_env) -> None:
    env, again = open_env("Breakout"), open_env("Breakout")
    first = play(env, 30)
    assert same(first, play(again, 30))
    assert same(first, play(env, 30))  # resetting with a seed starts over


def test_environment_i_has_the_seed_plus_i(open_env) -> None:
    env = open_env("Freeway", 3)
    starts = [env.reset(seed=seed) for seed in (0, 1)]
    assert np.array_equal(starts[0][1:], starts[1][:2])
    assert len({frame.tobytes() for frame in starts[0]}) > 1


def test_noops_can_be_switched_off(open_env) -> None:
    fixed = open_env("Freeway", 3, noop_max=0).reset(seed=0)
    assert len({frame.tobytes() for frame in fixed}) == 1


def test_sticky_actions_change_a_trajectory_and_are_off_by_default(open_env) -> None:
    def trajectory(**settings: float) -> list[StepResult]:
        env = open_env("Breakout", 1, noop_max=0, **settings)
        env.reset(seed=5)
        return [env.step(np.array([action])) for action in [1, *[3, 4, 4, 3] * 15]]

    assert same(trajectory(), trajectory())
    assert not same(trajectory(), trajectory(sticky_action_probability=0.25))
    assert same(trajectory(sticky_action_probability=0.25), trajectory(sticky_action_probability=0.25))


def test_frame_skip_is_the_number_of_frames_a_step(open_env) -> None:
    for skip in (1, 4):
        results = play(open_env("Pong", 1, frame_skip=skip, max_episode_frames=40), 41)
        assert next(t for t, result in enumerate(results) if result.truncated[0]) == 40 // skip - 1


def test_threads_do_not_change_the_trajectory(make_spec) -> None:
    from meme57.envs import make_env

    trajectories = []
    for threads in (1, 2):
        env = make_env(make_spec("Breakout"), num_envs=2, num_threads=threads)
        trajectories.append(play(env, 60))
        env.close()
    assert same(*trajectories)


def test_results_belong_to_the_caller(open_env) -> None:
    env = open_env("Breakout", 1)
    env.reset(seed=0)
    results = [env.step(np.array([1])) for _ in range(2)]
    copy = results[0].observation.copy()
    env.step(np.array([3]))
    assert np.array_equal(results[0].observation, copy)
    assert not np.shares_memory(results[0].observation, results[1].observation)


def test_an_extra_life_is_no_lost_one() -> None:
    env = object.__new__(AtariEnv)
    no = np.zeros(3, np.bool_)
    env._ended, env._lives = no, np.array([3, 3, 3])
    frames, lives = np.zeros((3, 1, 2, 2), np.uint8), {"lives": np.array([2, 3, 4])}
    env._env = SimpleNamespace(recv=lambda: (frames, np.zeros(3), no, no, lives))
    assert env.receive().life_lost.tolist() == [True, False, False]
