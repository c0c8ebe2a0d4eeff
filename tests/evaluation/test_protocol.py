"""Whole episodes, counted without favour to short ones; fresh seeds; a film that shows the game that is played."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from meme57.config import parse_parameters
from meme57.envs import StepResult, env_spec, make_env
from meme57.errors import Interrupted
from meme57.evaluation import protocol
from meme57.evaluation import watch as watch_module
from meme57.evaluation.protocol import RandomPolicy, mean_return, play_episodes
from meme57.evaluation.watch import watch

SEED = 1_500_000_001


class UnevenEnv:
    """Environment i plays episodes of 1 + 9 i steps, each of which pays 1."""

    def __init__(self, num_envs: int) -> None:
        self.num_envs = num_envs
        self.lengths = 1 + 9 * np.arange(num_envs)
        self.actions: list[np.ndarray] = []
        self.closed = False

    def reset(self, *, seed: int) -> np.ndarray:
        self.time = np.zeros(self.num_envs, np.int64)
        self.ended = np.zeros(self.num_envs, np.bool_)
        return np.zeros((self.num_envs, 16, 16), np.uint8)

    def step(self, actions: np.ndarray) -> StepResult:
        self.actions.append(actions)
        is_reset = self.ended
        self.time = np.where(is_reset, 0, self.time + 1)
        terminated = ~is_reset & (self.time == self.lengths)
        self.ended = terminated
        reward = (~is_reset).astype(np.float32)
        observation = np.zeros((self.num_envs, 16, 16), np.uint8)
        return StepResult(observation, reward, terminated, no := np.zeros_like(terminated), is_reset, no)

    def close(self) -> None:
        self.closed = True


class Constant:
    """Always the same action; remembers what it saw."""

    def __init__(self, num_envs: int, action: int = 0) -> None:
        self.actions = np.full(num_envs, action, np.int64)
        self.seen: list[np.ndarray] = []
        self.rewards: list[np.ndarray] = []

    def begin(self, observation: np.ndarray) -> None:
        self.seen.append(observation)

    def act(self) -> np.ndarray:
        return self.actions

    def observe(self, actions: np.ndarray, result: StepResult) -> None:
        self.seen.append(result.observation)
        self.rewards.append(result.reward)


@pytest.fixture
def uneven(monkeypatch) -> list[UnevenEnv]:
    made: list[UnevenEnv] = []

    def make(spec, *, num_envs: int) -> UnevenEnv:
        made.append(UnevenEnv(num_envs))
        return made[-1]

    monkeypatch.setattr(protocol, "make_env", make)
    return made


@pytest.fixture(scope="module")
def corridor():
    return env_spec(parse_parameters({"env": {"game": "Corridor", "height": 16, "width": 16}}).env)


@pytest.fixture(scope="module")
def pong():
    parameters = {"env": {"game": "Pong", "height": 36, "width": 36, "full_action_space": False,
                          "max_episode_frames": 400, "sticky_action_probability": 0.25}}  # fmt: skip
    return env_spec(parse_parameters(parameters).env)


def test_short_episodes_are_not_favoured(uneven, corridor) -> None:
    episodes = play_episodes(Constant, corridor, episodes=4, num_envs=2, seed=SEED)
    # The first four to end are all of environment 0: mean 1. Two each: (1 + 1 + 10 + 10) / 4.
    assert [episode.env for episode in episodes] == [0, 0, 1, 1]
    assert [episode.extrinsic_return for episode in episodes] == [1, 1, 10, 10]
    assert [episode.num_steps for episode in episodes] == [1, 1, 10, 10]  # the steps that only reset are none
    assert mean_return(Constant, corridor, episodes=4, num_envs=2, seed=SEED) == 5.5


@pytest.mark.parametrize(
    ("episodes", "num_envs", "shares"),
    [(5, 3, [2, 2, 1]), (2, 8, [1, 1]), (6, 3, [2, 2, 2]), (1, 1, [1])],
)
def test_exactly_the_episodes_asked_for_in_fixed_shares(uneven, corridor, episodes, num_envs, shares) -> None:
    progress = []
    played = play_episodes(
        Constant, corridor, episodes=episodes, num_envs=num_envs, seed=SEED, progress=lambda *now: progress.append(now)
    )
    assert [sum(episode.env == env for episode in played) for env in range(len(shares))] == shares
    assert len(played) == episodes
    assert uneven[0].num_envs == len(shares)
    assert progress == [(done, episodes) for done in range(1, episodes + 1)]
    assert uneven[0].closed


def test_environment_i_starts_from_the_seed_plus_i(pong) -> None:
    def first(seed: int) -> np.ndarray:
        policies = []

        def make(num_envs: int) -> Constant:
            policies.append(Constant(num_envs))
            return policies[-1]

        played = play_episodes(make, pong, episodes=3, num_envs=3, seed=seed)
        assert [episode.seed for episode in played] == [seed, seed + 1, seed + 2]
        return np.stack(policies[0].seen)  # [T, 3, H, W]

    one, next_one = first(SEED), first(SEED + 1)
    steps = min(len(one), len(next_one), 50)
    np.testing.assert_array_equal(one[:steps, 1:], next_one[:steps, :2])
    assert not np.array_equal(one[:steps, 0], next_one[:steps, 0])


def test_same_seed_same_result_and_another_seed_another_one(pong) -> None:
    def play(seed: int):
        # What a policy does must not matter for the seeds, so random play gets its own.
        return play_episodes(
            lambda num_envs: RandomPolicy(num_envs, pong.num_actions, seed=7),
            replace(pong, max_episode_frames=1_600),
            episodes=4,
            num_envs=4,
            seed=seed,
        )

    assert play(SEED) == play(SEED)
    assert play(SEED) != play(SEED + 100)


def test_frame_limit_truncates_and_is_noted(pong) -> None:
    played = play_episodes(Constant, pong, episodes=2, num_envs=2, seed=SEED)
    assert [episode.truncated for episode in played] == [True, True]
    # 400 frames are 100 steps; the emulator counts the frames of its random start among them
    assert all(90 <= episode.num_steps <= 100 for episode in played)


@pytest.mark.parametrize(("epsilon", "share"), [(0.0, 0.0), (0.2, 0.15), (1.0, 0.75)])
def test_epsilon_is_the_share_of_random_actions(uneven, corridor, epsilon: float, share: float) -> None:
    for _ in range(2):
        play_episodes(lambda n: Constant(n, 2), corridor, episodes=400, num_envs=4, seed=SEED, epsilon=epsilon)
    first, second = (np.concatenate(env.actions) for env in uneven)
    np.testing.assert_array_equal(first, second)
    assert len(first) > 4_000
    # one in four random actions is the policy's own; four standard deviations of the share are below 0.03
    assert np.mean(first != 2) == pytest.approx(share, abs=0.03 if epsilon else 0)
    assert set(first.tolist()) == ({0, 1, 2, 3} if epsilon else {2})


def test_random_play_is_uniform_and_seeded() -> None:
    policy = RandomPolicy(5, 6, seed=3)
    actions = np.concatenate([policy.act() for _ in range(2_000)])
    counts = np.bincount(actions, minlength=6)
    assert counts.shape == (6,)
    # 10,000 draws: 1,667 each, standard deviation sqrt(10000 * 1/6 * 5/6) = 37
    np.testing.assert_allclose(counts, 1_667, atol=150)
    np.testing.assert_array_equal(RandomPolicy(5, 6, seed=3).act(), actions[:5])


def test_stop_interrupts_and_frees_the_environments(uneven, corridor) -> None:
    asked = iter([False, False, True])
    with pytest.raises(Interrupted, match="start again to evaluate"):
        play_episodes(Constant, corridor, episodes=4, num_envs=2, seed=SEED, stop=lambda: next(asked))
    with pytest.raises(Interrupted):
        mean_return(Constant, corridor, episodes=4, num_envs=2, seed=SEED, stop=lambda: True)
    assert len(uneven[0].actions) == 2
    assert uneven[0].closed


@pytest.fixture
def watched(monkeypatch) -> list:
    """The environments that are made, with the rewards that each gave."""
    made = []

    def make(*arguments, **settings):
        env = make_env(*arguments, **settings)
        step, env.rewards = env.step, []

        def record(actions: np.ndarray) -> StepResult:
            result = step(actions)
            env.rewards.append(float(result.reward[0]))
            return result

        env.step = record
        made.append(env)
        return env

    monkeypatch.setattr(watch_module, "make_env", make)
    return made


def test_film_shows_the_game_that_the_policy_plays(watched, pong) -> None:
    long = replace(pong, max_episode_frames=108_000)
    frames = list(
        itertools.islice(watch(lambda n: RandomPolicy(n, 6, seed=1), long, episodes=1, seed=SEED, finished=[]), 201)
    )
    assert len(frames) == 201
    assert {frame.shape for frame in frames} == {(210, 160, 3)}
    assert {frame.dtype for frame in frames} == {np.dtype(np.uint8)}
    played, seen = watched
    assert (played.spec.height, seen.spec.height) == (36, 210)
    assert played.rewards == seen.rewards  # with sticky actions, whose randomness is the same
    assert np.count_nonzero(played.rewards) >= 2
    assert any(not np.array_equal(a, b) for a, b in itertools.pairwise(frames))


def test_film_ends_with_the_episode(watched, pong) -> None:
    frames = list(watch(Constant, pong, episodes=1, seed=SEED, finished=[]))
    assert 91 <= len(frames) <= 101
    assert len(frames) == len(watched[0].rewards) + 1


def test_film_is_the_first_episode_of_the_evaluation(watched, pong) -> None:
    long = replace(pong, max_episode_frames=2_400)
    frames = list(watch(Constant, long, episodes=1, seed=SEED, finished=[], epsilon=0.5))
    [episode] = play_episodes(Constant, long, episodes=1, num_envs=1, seed=SEED, epsilon=0.5)
    assert episode.num_steps == len(frames) - 1
    assert episode.extrinsic_return == sum(watched[0].rewards)


def test_film_of_the_toy_game_is_grey(corridor) -> None:
    frames = list(itertools.islice(watch(Constant, corridor, episodes=1, seed=0, finished=[]), 4))
    assert [frame.shape for frame in frames] == [(210, 160)] * 4


def test_facts_name_the_protocol(pong) -> None:
    facts = protocol.protocol_facts(pong, protocol="as_trained", episodes=9, seed=SEED, epsilon=0.0)
    assert (facts["episodes"], facts["seed"], facts["game"]) == (9, SEED, "Pong")
    names = {protocol.protocol_name(pong, epsilon=0.0)}
    for change in ({"frame_skip": 5}, {"noop_max": 0}, {"full_action_space": True}, {"max_episode_frames": 9}):
        names.add(protocol.protocol_name(replace(pong, **change), epsilon=0.0))
    names.add(protocol.protocol_name(replace(pong, sticky_action_probability=0.0), epsilon=0.0))
    names.add(protocol.protocol_name(pong, epsilon=0.01))
    names.add(protocol.protocol_name(pong, epsilon=0.0, temperature=0.25))
    assert facts["name"] in names
    assert len(names) == 8  # whatever makes scores incomparable makes another name


def test_film_can_be_stopped(pong) -> None:
    frames = watch(Constant, pong, episodes=1, seed=SEED, finished=[], stop=lambda: True)
    next(frames)
    with pytest.raises(Interrupted):
        next(frames)


def test_a_policy_is_told_what_was_played(uneven, corridor) -> None:
    """And not what it chose, where an action was random."""
    told = []

    class Watching(Constant):
        def observe(self, actions: np.ndarray, result: StepResult) -> None:
            told.append(actions.copy())
            super().observe(actions, result)

    play_episodes(Watching, corridor, episodes=8, num_envs=2, seed=SEED, epsilon=0.5)
    np.testing.assert_array_equal(told, uneven[0].actions)
    assert len(np.unique(told)) > 1
