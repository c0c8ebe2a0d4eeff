"""The group `suite`: games x seeds x variants as one command (docs/suite.md)."""

from __future__ import annotations

import csv
import functools
from importlib import resources
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from meme57.agent.bounds import Count
from meme57.config.fields import Alone, Group, Name, RunPrefix, Seeds
from meme57.config.games import listed_game

VariantName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_]{0,39}$")]


@functools.cache
def game_lists() -> dict[str, tuple[str, ...]]:
    """Map each list's name to its games: Atari-57, Atari-100k, Atari-5, the five hardest, three for a smoke test."""
    text = resources.files("meme57.config").joinpath("game_lists.csv").read_text()
    lists: dict[str, tuple[str, ...]] = {}
    for row in csv.DictReader(text.splitlines()):
        lists[row["list"]] = (*lists.get(row["list"], ()), row["game"])
    return lists


def _known_games(value: Any) -> Any:
    """Turn names of games into canonical names; keep the name of a list."""
    if isinstance(value, str):
        return value if value in game_lists() else (_listed_game(value),)
    if isinstance(value, list | tuple) and value and all(isinstance(game, str) for game in value):
        return tuple(listed_game(game) for game in value)
    raise ValueError(
        f"suite.games={value!r} is not possible: give a list of games, or one of {', '.join(game_lists())}"
    )


def _listed_game(value: str) -> str:
    try:
        return listed_game(value)
    except Exception:
        raise ValueError(
            f"suite.games={value!r} is no game and no list of games: the lists are {', '.join(game_lists())}"
        ) from None


class SuiteParameters(Group):
    """A suite: `kedro run --env suite`, or `--pipelines suite` with any environment."""

    name: Name | None = None
    """Name of the suite, which is in each of its paths; by default the name of its list, or its games."""
    is_default: bool = False
    """`kedro run` without `--pipelines` runs the suite; `conf/suite` sets it."""
    games: Annotated[str | tuple[str, ...], BeforeValidator(_known_games)] = "smoke"
    """A list by its name (atari57, atari100k, atari5, hard5, smoke), or games."""
    seeds: Seeds = (1,)
    """Training seeds; each game is learned once with each."""
    variants: dict[VariantName, dict[str, Any]] = Field(default_factory=dict)
    """Name of a variant -> its dotted parameters and values. The first one is the baseline. None: as configured."""
    compare: Annotated[tuple[str, ...], Alone] = ()
    """Published agents that the suite's page shows beside this one; docs/published.md lists them."""
    prefix: RunPrefix = ""
    """Put before each member's run name, so that two suites can have the same games and seeds."""
    workers: Count = 1
    """Members that learn at the same time, each in its own process."""
    report_only: bool = False
    """Learn nothing: make the table and the page of the members that are done, and name the others as missing."""
    distill: bool = True
    """Distil a student of each member, and score it too."""
    register_policies: bool = False
    """Register model versions of members, as single runs do."""

    @model_validator(mode="after")
    def _possible(self) -> SuiteParameters:
        for name, values in (("games", self.game_names), ("seeds", self.seeds)):
            if not values:
                raise ValueError(f"suite.{name} is empty: give at least one")
            repeated = [value for value in values if values.count(value) > 1]
            if repeated:
                raise ValueError(f"suite.{name} holds {repeated[0]} twice: give each once")
        if self.register_policies and not self.distill:
            raise ValueError("suite.register_policies needs students: set suite.distill=true")
        return self

    @property
    def game_names(self) -> tuple[str, ...]:
        """The games by name; the name of a list stands for its games."""
        return game_lists()[self.games] if isinstance(self.games, str) else self.games
