"""Environments of Gymnasium: frames, ends, seeds and wrappers as stated; what cannot be used is one line."""

from __future__ import annotations

import json
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Discrete

from meme57.blueprint import agent_spec
from meme57.config import parse_parameters
from meme57.envs import EnvSpec, VectorEnv, env_spec, make_env, refuse_code
from meme57.envs.frames import resize, to_gray
from meme57.envs.single import raw_env
from meme57.errors import ConfigurationError, EnvironmentSetupError, Meme57Error

OWN = "own_envs"


def spec_of(env_id: str, **settings: Any) -> EnvSpec:
    return env_spec(parse_parameters({"env": {"id": env_id, **settings}}).env)


@pytest.fixture(name="open_own")
def _open_own(request: pytest.FixtureRequest) -> Any:
    def open_own(name: str, num_envs: int = 2, *, colour: bool = False, **settings: Any) -> VectorEnv:
        env = make_env(spec_of(f"{OWN}:{name}-v0", **settings), num_envs=num_envs, colour=colour)
        request.addfinalizer(env.close)
        return env

    return open_own


def test_a_vector_is_one_row_of_float32(open_own) -> None:
    env = open_own("Counting", 3)
    observation = env.reset(seed=0)
    assert (observation.shape, observation.dtype) == ((3, 1, 2), np.float32)
    assert env.spec.frame_shape == (1, 2)
    result = env.step(np.zeros(3, np.int64))
    assert (result.reward.dtype, result.terminated.dtype, result.truncated.dtype) == (np.float32, np.bool_, np.bool_)
    assert result.observation[:, 0, 0].tolist() == [1.0, 1.0, 1.0]


def test_actions_count_from_zero(open_own) -> None:
    env = open_own("Counting", 3)
    env.reset(seed=0)
    result = env.step(np.array([0, 1, 2]))
    assert result.reward.tolist() == [5.0, 6.0, 7.0]
    assert result.terminated.tolist() == [False, True, False]
    assert env.spec.action_meanings == ("ACTION_0", "ACTION_1", "ACTION_2")


def test_a_single_environment_takes_the_actions_of_a_policy_too() -> None:
    """`Policy.act` counts from 0, and its environment is stepped with that."""
    env = raw_env(spec_of(f"{OWN}:Counting-v0"), on_reset=lambda: None, on_step=lambda reward: None)
    assert env.action_space == Discrete(3)
    env.reset(seed=0)
    assert [env.step(action)[1] for action in (0, 2, 1)] == [5.0, 7.0, 6.0]


def test_what_runs_out_of_time_is_truncated_and_not_terminated(open_own) -> None:
    env = open_own("Counting", 2)
    env.reset(seed=0)
    results = [env.step(np.array([0, 1 if step == 6 else 0])) for step in range(8)]
    assert [(r.terminated | r.truncated).any() for r in results] == [False] * 6 + [True, False]
    last = results[6]  # both end with step 7: one by its action, the other by the limit
    assert last.terminated.tolist() == [False, True]
    assert last.truncated.tolist() == [True, False]
    assert last.observation[:, 0, 0].tolist() == [7.0, 7.0]  # the last observation, not that of the reset
    assert results[7].is_reset.all()
    assert results[7].reward.tolist() == [0.0, 0.0]
    assert results[7].observation[:, 0, 0].tolist() == [0.0, 0.0]


def test_the_shorter_limit_ends_an_episode(open_own) -> None:
    env = open_own("Counting", 1, max_episode_frames=3)
    env.reset(seed=0)
    ends = [bool(env.step(np.zeros(1, np.int64)).truncated[0]) for _ in range(3)]
    assert ends == [False, False, True]
    assert env.spec.max_episode_frames == 3
    assert spec_of(f"{OWN}:Counting-v0").max_episode_frames == 7


def test_environment_i_has_the_seed_plus_i_and_its_own_stream(open_own) -> None:
    env = open_own("Counting", 3)
    first = env.reset(seed=11)[:, 0, 1]
    expected = [np.random.default_rng(np.random.SeedSequence(11 + i)).random() for i in range(3)]
    assert first.tolist() == pytest.approx(expected)
    ones = np.ones(3, np.int64)
    env.step(ones)
    second = env.step(ones).observation[:, 0, 1]
    assert not set(second.tolist()) & set(first.tolist())
    assert env.reset(seed=11)[:, 0, 1].tolist() == first.tolist()


def test_an_image_is_gray_and_resized(open_own) -> None:
    env = open_own("Images", 2, height=20, width=30)
    observation = env.reset(seed=0)
    assert (observation.shape, observation.dtype) == ((2, 20, 30), np.uint8)
    # red is 0.2989 x 255 = 76 in gray; a column of two of 60 columns is half covered
    assert observation[0, 5].tolist() == [38] + [0] * 29


def test_gray_and_mean_over_the_area_by_hand() -> None:
    image = np.array([[[[255, 0, 0], [0, 255, 0], [0, 0, 255]]]], np.uint8)
    assert to_gray(image).tolist() == [[[76, 150, 29]]]
    # three pixels in two: 76 + 150 / 2 over 1.5, and 150 / 2 + 29 over 1.5
    assert resize(to_gray(image), 1, 2).tolist() == [[[101, 69]]]
    assert resize(np.full((1, 7, 9), 200, np.uint8), 16, 16).tolist() == [[[200] * 16] * 16]


def test_frames_are_those_of_the_emulator() -> None:
    """The picture that ALE shows people, made gray and small here, is what ALE shows the agent.

    Without max-pooling: of colours it is another one than of grays.
    """
    settings = {"game": "MsPacman", "height": 84, "width": 84, "max_pool": False}
    small = env_spec(parse_parameters({"env": settings}).env)
    large = env_spec(parse_parameters({"env": {**settings, "height": 210, "width": 160}}).env)
    agent, people = make_env(small, num_envs=1), make_env(large, num_envs=1, colour=True)
    try:
        for env in (agent, people):
            env.reset(seed=3)
        for step in range(40):
            frame, seen = (env.step(np.array([step % 9])).observation for env in (agent, people))
            difference = np.abs(resize(to_gray(seen), 84, 84).astype(int) - frame)
            assert difference.max() <= 1
    finally:
        agent.close()
        people.close()


def test_wrappers_are_put_around_it_the_first_inside(open_own) -> None:
    env = open_own("Dictionaries", 1, wrappers=[f"{OWN}:Doubled", "gymnasium.wrappers:FlattenObservation"])
    assert env.reset(seed=0).shape == (1, 1, 5)  # two numbers, and one of three
    assert env.step(np.zeros(1, np.int64)).reward.tolist() == [10.0]


def test_one_entry_of_a_dictionary(open_own) -> None:
    env = open_own("Dictionaries", 2, observation_key="numbers")
    env.reset(seed=0)
    assert env.step(np.zeros(2, np.int64)).observation[:, 0, 0].tolist() == [1.0, 1.0]


def test_people_see_what_the_environment_draws(open_own) -> None:
    env = open_own("Counting", 2, colour=True)
    assert env.reset(seed=0).shape == (2, 40, 60, 3)
    assert (env.step(np.zeros(2, np.int64)).observation == 1).all()


def test_an_infinite_observation_is_refused(open_own) -> None:
    env = open_own("Broken", 1)
    env.reset(seed=0)
    with pytest.raises(EnvironmentSetupError, match="not finite"):
        env.step(np.zeros(1, np.int64))


def test_json_round_trip() -> None:
    spec = spec_of(f"{OWN}:Dictionaries-v0", observation_key="numbers", wrappers=[f"{OWN}:Doubled"])
    back = EnvSpec.from_json(json.loads(json.dumps(spec.to_json())))
    assert back == spec
    assert hash(back) == hash(spec)


def test_a_spec_of_an_impossible_size_is_damaged() -> None:
    tree = spec_of("CartPole-v1").to_json()
    for change in ({"width": 10**6}, {"frame_dtype": "uint8"}, {"frame_dtype": "object"}):
        with pytest.raises(EnvironmentSetupError, match="damaged"):
            EnvSpec.from_json({**tree, **change})


def test_a_frame_is_a_step_whatever_the_presets_say() -> None:
    chosen = parse_parameters({"env": {"game": "Pong", "id": "CartPole-v1", "frame_skip": 4, "noop_max": 30}})
    assert (chosen.env.game, chosen.env.frame_skip, chosen.env.noop_max) == ("CartPole-v1", 1, 0)
    assert chosen.run_name == "CartPole-v1-s1"
    assert parse_parameters({"env": {"id": "a_b.c:My/Env-v0"}}).run_name == "a_b.c-My-Env-v0-s1"


def test_minigrid_is_found_without_its_package_in_the_id() -> None:
    spec = spec_of(
        "MiniGrid-DoorKey-5x5-v0", observation_key="image", wrappers=["minigrid.wrappers:RGBImgPartialObsWrapper"]
    )
    assert spec.action_meanings == ("left", "right", "forward", "pickup", "drop", "toggle", "done")
    assert (spec.frame_dtype, spec.rom_id) == ("uint8", "minigrid_doorkey_5x5_v0")


REFUSED = {
    "CartPol-v1": ({}, r"not registered in Gymnasium: did you mean CartPole-v1"),
    "MiniGrid-Nothing-v0": ({}, r"not registered.*env.id=PACKAGE:MiniGrid-Nothing-v0"),
    "no_such_package:Mine-v0": ({}, r"No module named 'no_such_package'.*PYTHONPATH"),
    "Pendulum-v1": ({}, r"the actions Box.*Discrete actions"),
    f"{OWN}:Dictionaries-v0": ({}, r"a dictionary: choose one entry, env.observation_key= one of numbers, which"),
    f"{OWN}:Pairs-v0": ({}, r"shows Tuple.*FlattenObservation"),
    "FrozenLake-v1": ({}, r"shows Discrete\(16\).*FlattenObservation"),
    f"{OWN}:Images-v0": ({"observation_key": "x"}, r"needs a dictionary"),
    f"{OWN}:Counting-v0": ({"wrappers": ["no_such:Wrapper"]}, r"'no_such:Wrapper' cannot be imported.*module:Class"),
}


@pytest.mark.parametrize("env_id", REFUSED)
def test_what_cannot_be_used_is_one_line(env_id: str) -> None:
    settings, words = REFUSED[env_id]
    with pytest.raises(EnvironmentSetupError, match=words) as caught:
        spec_of(env_id, **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("wrapper", "words"),
    [
        (f"{OWN}:Nobody", "cannot be imported"),
        ("os:system", "no subclass of gymnasium.Wrapper"),
        (f"{OWN}:Unmade", "cannot be put around it: RuntimeError: it needs a licence"),
        ("nothing", "write module:Class"),
    ],
)
def test_a_wrapper_that_cannot_be_used_is_one_line(wrapper: str, words: str) -> None:
    with pytest.raises(EnvironmentSetupError, match=words):
        spec_of(f"{OWN}:Counting-v0", wrappers=[wrapper])


def test_a_key_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(EnvironmentSetupError, match=r"is not there.*numbers, which"):
        spec_of(f"{OWN}:Dictionaries-v0", observation_key="number")


def test_a_missing_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from meme57.envs import gymnasium_env

    monkeypatch.setattr(gymnasium_env.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EnvironmentSetupError, match=r"needs the package minigrid: pip install 'meme57\[minigrid\]'"):
        spec_of("MiniGrid-NotYetThere-v0")


def test_an_environment_that_lacks_a_package_of_its_own_says_which() -> None:
    if any(name.startswith("Box2D") for name in __import__("sys").modules):
        pytest.skip("Box2D is installed")
    with pytest.raises(EnvironmentSetupError, match=r"LunarLander-v3 does not start.*pip install"):
        spec_of("LunarLander-v3")


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"kind": "gymnasium"}, "env.kind=gymnasium needs env.id"),
        ({"kind": "toy", "game": "Pong"}, "env.game=Pong is no game of env.kind=toy"),
        ({"kind": "atari", "id": "CartPole-v1"}, "of Gymnasium, not of env.kind=atari"),
        ({"wrappers": ["a:B"]}, "give env.id"),
        ({"id": "Pong-v4"}, r"env.game=Pong: type that"),
        ({"game": "CartPole-v1"}, r"An environment of Gymnasium is env.id=CartPole-v1"),
    ],
)
def test_a_kind_that_does_not_fit_is_one_line(env: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        parse_parameters({"env": env})


@pytest.mark.parametrize(("kind", "game"), [("atari", "Pong"), ("toy", "Corridor")])
def test_naming_the_kind_changes_no_identity(kind: str, game: str) -> None:
    plain, named = (parse_parameters({"env": {"game": game, **more}}) for more in ({}, {"kind": kind}))
    assert plain.fingerprint() == named.fingerprint()


def test_lists_of_games_take_ids_with_their_package() -> None:
    from meme57.config.members import member_parameters, suite_members

    chosen = parse_parameters({"suite": {"games": ["Pong", "gymnasium:CartPole-v1"]}, "network": {"torso": "mlp"}})
    members = suite_members(chosen)
    assert [member.name for member in members] == ["Pong-s1", "gymnasium-CartPole-v1-s1"]
    assert [member_parameters(chosen, member).env.id for member in members] == [None, "gymnasium:CartPole-v1"]
    with pytest.raises(Meme57Error, match="no game and no list"):
        parse_parameters({"suite": {"games": "CartPole-v1"}})


def test_a_list_with_an_atari_game_beside_a_configured_id_is_refused() -> None:
    """Or the id would win, and CartPole be played in the name of Pong."""
    from meme57.config.members import check_suite
    from meme57.tuning.checks import check_study

    tree = {"env": {"id": "CartPole-v1"}, "network": {"torso": "mlp"}}
    words = r"env.id=CartPole-v1 is configured, and the list of games has Pong: list ids"
    with pytest.raises(ConfigurationError, match=words):
        check_suite(parse_parameters({**tree, "suite": {"games": ["Pong"]}}))
    with pytest.raises(ConfigurationError, match=words):
        check_study(parse_parameters({**tree, "tune": {"games": ["Pong"]}}))


def test_only_pictures_can_be_moved() -> None:
    parameters = parse_parameters(
        {"env": {"id": "CartPole-v1"}, "network": {"torso": "mlp"}, "learner": {"shift_pixels": 2}}
    )
    with pytest.raises(ConfigurationError, match=r"shift_pixels=2 moves pictures, and .* shows a vector of 4 numbers"):
        agent_spec(parameters, env_spec(parameters.env))


def test_gymnasium_is_the_version_that_states_its_autoreset() -> None:
    assert gymnasium.vector.AutoresetMode.NEXT_STEP.value == "NextStep"


@pytest.mark.parametrize(
    ("env_id", "wrappers", "named", "refused"),
    [
        ("CartPole-v1", [], [], None),
        ("gymnasium:CartPole-v1", ["gymnasium.wrappers:FlattenObservation"], [], None),
        (f"{OWN}:Counting-v0", [], [], f"{OWN}:Counting-v0"),
        (f"{OWN}:Counting-v0", [], [f"{OWN}:Counting-v0"], None),
        (f"{OWN}:Counting-v0", [f"{OWN}:Doubled"], [f"{OWN}:Counting-v0"], f"{OWN}:Doubled"),
    ],
)
def test_code_that_only_a_file_names_is_refused(
    env_id: str, wrappers: list[str], named: list[str], refused: str | None
) -> None:
    spec = EnvSpec.from_json(spec_of(env_id, wrappers=wrappers).to_json())
    if refused is None:
        return refuse_code(spec, named)
    with pytest.raises(EnvironmentSetupError, match=f"names {refused}, which is code"):
        refuse_code(spec, named)
    return None


def test_a_file_that_names_a_function_is_refused() -> None:
    tree = spec_of("CartPole-v1").to_json()
    spec = EnvSpec.from_json({**tree, "gymnasium": {**tree["gymnasium"], "wrappers": ["os:system"]}})
    with pytest.raises(EnvironmentSetupError, match="os:system"):
        refuse_code(spec, [])
