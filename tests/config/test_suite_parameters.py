"""A suite's games, members and names; every impossible suite is one line before anything runs."""

from __future__ import annotations

from typing import Any

import pytest

from meme57.config import parse_parameters
from meme57.config.games import rom_ids
from meme57.config.members import check_suite, member_parameters, member_settings, suite_fingerprint, suite_members
from meme57.config.suite import game_lists
from meme57.errors import ConfigurationError
from meme57.evaluation.published import ATARI5
from meme57.evaluation.reference import reference_games


def suite(**settings: Any) -> Any:
    return parse_parameters({"suite": settings})


def test_lists_are_the_published_ones() -> None:
    lists = game_lists()
    assert {name: len(games) for name, games in lists.items()} == {
        "atari57": 57, "atari100k": 26, "hard5": 5, "atari5": 5, "smoke": 3,
    }  # fmt: skip
    assert lists["atari57"] == reference_games()
    assert set(lists["atari100k"]) <= set(lists["atari57"])
    assert set(lists["atari5"]) == set(ATARI5)
    assert set(lists["hard5"]) == {"MontezumaRevenge", "Pitfall", "PrivateEye", "Skiing", "Solaris"}
    assert all(set(games) <= set(rom_ids()) for games in lists.values())


def test_members_are_named_by_game_variant_and_seed() -> None:
    plain = suite(games=["pong", "ALE/Breakout-v5"], seeds=[1, 2])
    assert [member.name for member in suite_members(plain)] == ["Pong-s1", "Breakout-s1", "Pong-s2", "Breakout-s2"]
    varied = suite(
        games="Pong", seeds=[3], prefix="abl", variants={"full": {}, "no_trust": {"loss.trust_region": False}}
    )
    assert [member.name for member in suite_members(varied)] == ["abl-Pong-full-s3", "abl-Pong-no_trust-s3"]
    assert (plain.suite_name, varied.suite_name, suite().suite_name) == ("Pong-Breakout", "Pong", "smoke")


def test_a_value_alone_is_a_list_of_one() -> None:
    assert (
        suite(games="Pong", seeds=11, compare="mrq_2M").suite
        == suite(games=["Pong"], seeds=[11], compare=["mrq_2M"]).suite
    )
    tune = parse_parameters({"tune": {"games": "pong", "seeds": 5, "evidence_seeds": 7}}).tune
    assert (tune.games, tune.seeds, tune.evidence_seeds) == (("Pong",), (5,), (7,))


def test_a_member_has_its_game_seed_and_values() -> None:
    chosen = suite(games="Pong", seeds=[3], variants={"a": {"loss.kappa": 0.5, "run.total_frames": 77}})
    [member] = suite_members(chosen)
    own = member_parameters(chosen, member)
    assert (own.env.game, own.run.seed, own.run_name) == ("Pong", 3, "Pong-a-s3")
    assert (own.loss.kappa, own.run.total_frames) == (0.5, 77)


def test_a_done_member_is_known_by_everything_that_shapes_its_result() -> None:
    base = parse_parameters({})
    for change in (
        {"run": {"total_frames": 5}}, {"evaluate": {"protocol": "sticky"}}, {"evaluate": {"episodes": 7}},
        {"distill": {"updates": 3}}, {"loss": {"kappa": 0.5}}, {"run": {"seed": 2}}, {"env": {"game": "Pong"}},
    ):  # fmt: skip
        assert member_settings(parse_parameters(change)) != member_settings(base), change
    for same in ({"run": {"log_period_frames": 7}}, {"suite": {"seeds": [4]}}, {"tracking": {"experiment": "x"}}):
        assert member_settings(parse_parameters(same)) == member_settings(base), same


def test_more_games_and_seeds_are_the_same_suite_and_another_agent_is_not() -> None:
    first = suite_fingerprint(suite(games="Pong"))
    assert suite_fingerprint(suite(games=["Pong", "Breakout"], seeds=[1, 2])) == first
    assert suite_fingerprint(suite(games="Pong", variants={"a": {"loss.kappa": 0.5}})) != first
    assert suite_fingerprint(parse_parameters({"suite": {"games": "Pong"}, "loss": {"kappa": 0.5}})) != first


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"games": "atari75"}, r"suite.games='atari75' is no game and no list of games: the lists are atari57"),
        ({"games": ["Pong", "pong"]}, "suite.games holds Pong twice"),
        ({"games": ["Pongg"]}, "did you mean Pong"),
        ({"games": []}, r"suite.games=\[\] is not possible"),
        ({"games": 5}, "suite.games=5 is not possible"),
        ({"seeds": []}, "suite.seeds is empty"),
        ({"distill": False, "register_policies": True}, "suite.register_policies needs students"),
        ({"seeds": [1, 1]}, "suite.seeds holds 1 twice"),
        ({"variants": {"a-b": {}}}, "suite.variants.a-b"),
        ({"worker": 2}, "did you mean suite.workers?"),
    ],
)
def test_impossible_suites_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        suite(**settings)


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ({"loss.trust_regio": True}, "suite.variants.a sets loss.trust_regio, .* did you mean loss.trust_region?"),
        ({"env.game": "Pong"}, "sets env.game, which a variant cannot set"),
        ({"run.seed": 3}, "sets run.seed, which a variant cannot set"),
        ({"evaluate.protocol": "paper"}, "sets evaluate.protocol"),
        ({"loss.kappa": "much"}, "suite.variants.a: loss.kappa='much' is not possible"),
        ({"replay.min_sequences": 300_000}, "suite.variants.a: replay.min_sequences=300000 is more"),
    ],
)
def test_impossible_variants_are_refused(variant: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        check_suite(suite(variants={"a": variant}))


def test_a_possible_suite_is_not() -> None:
    check_suite(suite(games="atari57", seeds=[1, 2], variants={"full": {}, "eager": {"loss.lambda": 0.8}}))
