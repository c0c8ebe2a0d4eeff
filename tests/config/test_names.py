"""Names of runs, studies and suites cannot meet, and what YAML makes of them is noticed."""

from __future__ import annotations

import re
from typing import Any

import pytest
from kedro.framework.cli.utils import _split_params

from meme57.config import parse_parameters
from meme57.config.fields import LONGEST_NAME, joined
from meme57.config.members import check_suite
from meme57.config.suite import game_lists
from meme57.errors import ConfigurationError


def typed(params: str) -> Any:
    """What `kedro run --params ...` makes of the text."""
    return parse_parameters(_split_params(None, None, params))


@pytest.mark.parametrize("name", ["tune-Pong", "suite-smoke", "Tune-x", "SUITE-x", "tune-", "suite-"])
def test_a_run_is_not_named_as_a_study_or_a_suite(name: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"run\.name='{name}' is not .* such as my-{name}") as caught:
        parse_parameters({"run": {"name": name}})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("prefix", ["tune", "suite", "Tune", "tune-x", "suite-a"])
def test_nor_is_a_member_of_a_suite(prefix: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"suite\.prefix='{prefix}' is not possible"):
        parse_parameters({"suite": {"prefix": prefix}})


@pytest.mark.parametrize("name", ["tuned", "tune", "suites-1", "my-tune-x", "tune_x", "20261128", "2026-11-28", "x."])
def test_other_names_are_free(name: str) -> None:
    chosen = parse_parameters({"run": {"name": name}, "tune": {"study": name}, "suite": {"name": name}})
    assert (chosen.run_name, chosen.study_name, chosen.suite_name) == (name, name, name)


@pytest.mark.parametrize("name", ["../x", "", ".", "..", ".x", "-x", "a b", "a/b", "a\n", "ä", "x" * 101])
def test_what_a_name_may_hold_is_said_in_words(name: str) -> None:
    for group, key in (("run", "name"), ("tune", "study"), ("suite", "name")):
        with pytest.raises(ConfigurationError) as caught:
            parse_parameters({group: {key: name}})
        assert str(caught.value).startswith(f"{group}.{key}=")
        assert "letters, digits" in str(caught.value)
        assert "[A-Z" not in str(caught.value)


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"run": {"name": "a/b"}}, "letters, digits, `.`, `_` and `-`, a letter or digit first, 100 at most"),
        ({"suite": {"prefix": "a/b"}}, "letters, digits, `.`, `_` and `-`, a letter or digit first, 40 at most"),
        ({"suite": {"variants": {"a-b": {}}}}, "letters, digits and `_`, a letter or digit first, 40 at most"),
    ],
)
def test_the_words_are_those_of_the_pattern(tree: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(words)):
        parse_parameters(tree)


@pytest.mark.parametrize("key", ["run.name", "tune.study", "suite.name", "suite.prefix", "tracking.experiment"])
@pytest.mark.parametrize("text", ["20261128", "007", "1e5", "1.10", "true", "yes", "0x1F"])
def test_a_name_that_yaml_takes_for_something_else_is_to_be_quoted(key: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{key}=.* was read as .*--params \"{key}='.*'\"") as caught:
        typed(f"{key}={text}")
    assert "\n" not in str(caught.value)
    group, name = key.split(".")
    assert getattr(getattr(typed(f"{key}='{text}'"), group), name) == text


def test_a_date_and_digits_with_letters_are_texts() -> None:
    assert typed("run.name=2026-11-28").run_name == "2026-11-28"
    assert typed("run.name=1e5x").run_name == "1e5x"


@pytest.mark.parametrize("text", ["null", "~", ""])
def test_no_name_is_the_default_name(text: str) -> None:
    assert typed(f"run.name={text},env.game=pong").run_name == "Pong-s1"


def test_the_name_of_a_variant_is_to_be_quoted_too() -> None:
    with pytest.raises(ConfigurationError, match=r"suite\.variants: the name 7 was read as a number: write '7'"):
        parse_parameters({"suite": {"variants": {7: {}}}})


def test_variants_that_differ_only_in_case_would_be_one_folder_on_some_machines() -> None:
    with pytest.raises(ConfigurationError, match="two members of the suite are called"):
        check_suite(parse_parameters({"suite": {"variants": {"full": {}, "Full": {"loss.kappa": 0.5}}}}))


def test_default_names_of_many_games_fit_a_folder_and_stay_apart() -> None:
    games = game_lists()["atari57"]
    for group, attribute in (("suite", "suite_name"), ("tune", "study_name")):
        names = {
            getattr(parse_parameters({group: {"games": list(chosen)}}), attribute)
            for chosen in (games, games[:-1], games[1:], [*games[:-1], "Pooyan"])
        }
        assert len(names) == 4
        assert all(len(f"tuned-{name}") < 255 for name in names)


def test_default_names_of_few_games_are_the_games() -> None:
    chosen = parse_parameters({"suite": {"games": ["Pong", "Boxing"]}, "tune": {"games": ["Pong", "Boxing"]}})
    assert (chosen.suite_name, chosen.study_name) == ("Pong-Boxing", "Pong-Boxing")


def test_a_joined_name_ends_in_a_digest_only_where_it_is_too_long() -> None:
    longest = ["a" * 49, "b" * (LONGEST_NAME - 50)]
    assert joined(longest) == "-".join(longest)
    longer = joined([*longest, "c"])
    assert len(longer) == LONGEST_NAME
    assert longer.startswith("a" * 49 + "-b")
    assert longer != joined([*longest, "d"])
