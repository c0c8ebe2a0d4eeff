"""Refuse impossible studies in one line, before the first trial.

Each dimension is checked by itself. Then settings at the ends of the ranges, alone and in pairs, are validated like a
run's parameters. Every such setting can be reached, so no refusal is a false alarm.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from meme57.config import Parameters, parse_parameters
from meme57.config.games import game_settings
from meme57.config.parameters import LEARNING_GROUPS
from meme57.config.tree import assign, look_up
from meme57.config.tuning import Dimension
from meme57.errors import ConfigurationError
from meme57.evaluation.reference import WHOLE_GAME_FRAMES, has_reference, is_cut
from meme57.tuning.space import divides, is_active, label

NOT_THE_AGENT = (
    "env.kind",
    "env.game",
    "env.id",
    "env.wrappers",
    "env.observation_key",
    "env.full_action_space",
    "env.sticky_action_probability",
    "env.frame_skip",
    "env.max_pool",
    "env.noop_max",
    "env.max_episode_frames",
)
"""Parameters of the task; scores of trials that differ in them cannot be compared."""
INSIDE = 0.381966
"""Position of a third probe in a float's range; it reveals a whole-number parameter, which takes no fraction."""


def check_study(parameters: Parameters) -> None:
    """Refuse an impossible search space or objective.

    Raises:
        ConfigurationError: one line for the first fault.
    """
    tune, games = parameters.tune, parameters.tune_games
    if parameters.actors.pool == "ray":
        raise ConfigurationError(
            "a trial plays in its own process: set actors.pool=local; tune.executor=ray spreads trials over a cluster"
        )
    if parameters.run.init_from is not None:
        raise ConfigurationError("trials begin with random weights: leave run.init_from out of a study")
    for game in games:
        game_settings(game, parameters.env.game)
    if not tune.space:
        raise ConfigurationError(
            "tune.space is empty: give at least one parameter, such as "
            "{name: learner.learning_rate, type: log_float, low: 1.0e-4, high: 1.0e-2}"
        )
    if len(set(games)) < len(games):
        raise ConfigurationError(f"tune.games={list(games)} names a game twice: give each once")
    raw = [game for game in games if not has_reference(game)]
    if raw and len(games) > 1:
        raise ConfigurationError(
            f"tune.games: {raw[0]} has no human score, so it cannot be averaged with others: tune it alone"
        )
    limit = parameters.env.max_episode_frames
    if is_cut(limit) and len(games) > 1:
        raise ConfigurationError(
            f"env.max_episode_frames={limit} cuts games, and returns of several games cannot be averaged: "
            f"`--params tune.games=[{games[0]}]` tunes one, `--params env.max_episode_frames={WHOLE_GAME_FRAMES}` "
            "plays whole games"
        )
    num_units = len(games) * len(tune.seeds)
    if tune.pruner == "wilcoxon" and num_units < 3:
        raise ConfigurationError(
            f"tune.pruner=wilcoxon compares games and seeds, and there are {num_units}: give at least 3 in all"
        )
    if tune.score == "evaluation" and parameters.learner.evaluation_episodes == 0:
        raise ConfigurationError("tune.score=evaluation needs learner.evaluation_episodes above 0, such as 8")
    check_space(parameters)


def check_space(parameters: Parameters) -> None:
    """Refuse a search space with an unknown parameter of the agent, or with impossible settings."""
    space = parameters.tune.space
    tree = parameters.model_dump(mode="json", by_alias=True)
    for position, dimension in enumerate(space):
        _check_name(dimension.name, tree)
        if any(other.name == dimension.name for other in space[:position]):
            raise _fault(dimension, "is there twice", "give it once, with one range")
        _check_shape(dimension, look_up(tree, dimension.name))
        _check_condition(dimension, space[:position])
    for values in _reachable(space):
        try:
            parse_parameters(assign(tree, values))
        except ConfigurationError as error:
            raise ConfigurationError(f"tune.space leads to an impossible setting: {error}") from None


def _check_name(name: str, tree: dict[str, Any]) -> None:
    known = [f"{group}.{key}" for group in LEARNING_GROUPS for key in tree[group]]
    if name == "actors.pool":
        raise ConfigurationError(f"tune.space: {name} is where a trial plays, which is its own process: leave it out")
    if name in NOT_THE_AGENT:
        raise ConfigurationError(f"tune.space: {name} is the task, not the agent: scores could not be compared")
    if name in known:
        return
    if name in LEARNING_GROUPS:
        raise ConfigurationError(
            f"tune.space: {name} is a group: name one of its parameters, such as {name}.{next(iter(tree[name]))}"
        )
    if name.partition(".")[0] in tree and name.partition(".")[0] not in LEARNING_GROUPS:
        raise ConfigurationError(
            f"tune.space: {name} does not shape learning: only {', '.join(LEARNING_GROUPS)} can be tuned"
        )
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else "docs/configuration.md names the groups."
    raise ConfigurationError(f"tune.space: unknown parameter {name}: {hint}")


def _check_shape(dimension: Dimension, configured: Any) -> None:
    if dimension.type == "categorical":
        _check_choices(dimension)
        return
    low, high, step = dimension.low, dimension.high, dimension.step
    if dimension.choices is not None:
        raise _fault(
            dimension, f"has choices and type {dimension.type}", "leave choices out, or take type: categorical"
        )
    if isinstance(configured, bool | str | list):
        raise _fault(dimension, f"is {configured!r}, no number", "take type: categorical with choices")
    if low is None or high is None:
        raise _fault(
            dimension, f"has no {'low' if low is None else 'high'}", f"type {dimension.type} needs low and high"
        )
    if not low < high:
        raise _fault(dimension, f"has low={low:g} and high={high:g}", "low must be below high")
    if dimension.type.startswith("log_"):
        if low <= 0 or (dimension.type == "log_int" and low < 1):
            raise _fault(dimension, f"has low={low:g}", "a logarithmic range begins above 0, for int at 1")
        if step is not None:
            raise _fault(dimension, f"has step={step:g} and type {dimension.type}", "leave step out")
    if dimension.type.endswith("int") and any(number is not None and number % 1 for number in (low, high, step)):
        raise _fault(dimension, f"has low={low:g}, high={high:g}", "type int takes whole numbers")
    if step is not None and (step <= 0 or not divides(step, high - low)):
        raise _fault(dimension, f"has step={step:g}", f"steps must lead from low={low:g} to high={high:g} exactly")


def _check_choices(dimension: Dimension) -> None:
    if dimension.low is not None or dimension.high is not None or dimension.step is not None:
        raise _fault(dimension, "is categorical and has a range", "leave low, high and step out")
    choices = [label(choice) for choice in dimension.choices or ()]
    if len(choices) < 2:
        raise _fault(dimension, f"has {len(choices)} choices", "give at least two")
    if len({(type(choice), choice) for choice in choices}) < len(choices):
        raise _fault(dimension, f"has the same choice twice in {choices}", "give each once")


def _check_condition(dimension: Dimension, earlier: Sequence[Dimension]) -> None:
    for name, value in (dimension.when or {}).items():
        found = [other for other in earlier if other.name == name]
        if not found:
            raise _fault(dimension, f"depends on {name}, which is not above it in the space", "put it before")
        if found[0].choices is None or value not in found[0].choices:
            raise _fault(dimension, f"depends on {name}={value!r}, which is none of its choices", "name one of them")


def _reachable(space: Sequence[Dimension]) -> Iterator[dict[str, Any]]:
    """Yield settings that a trial may get: every value of `_probes` alone, and every pair of them."""
    probes = [_probes(dimension) for dimension in space]
    first = [values[0] for values in probes]
    for i, j in itertools.combinations_with_replacement(range(len(space)), 2):
        for left, right in itertools.product(probes[i], probes[j]):
            values = [*first]
            values[i], values[j] = left, right
            yield _active(space, values)


def _active(space: Sequence[Dimension], values: Sequence[Any]) -> dict[str, Any]:
    active: dict[str, Any] = {}
    for dimension, value in zip(space, values, strict=True):
        if is_active(dimension, active):
            active[dimension.name] = value
    return active


def _probes(dimension: Dimension) -> list[Any]:
    """List both ends of a range and, for a float, a value between; or every choice."""
    if dimension.choices is not None:
        return list(dimension.choices)
    low, high, step = dimension.low, dimension.high, dimension.step
    assert low is not None
    assert high is not None
    if dimension.type.endswith("int"):
        return [int(low), int(high)]
    return [low, high, low + step if step else low + INSIDE * (high - low)]


def _fault(dimension: Dimension, what: str, then: str) -> ConfigurationError:
    return ConfigurationError(f"tune.space: {dimension.name} {what}: {then}")
