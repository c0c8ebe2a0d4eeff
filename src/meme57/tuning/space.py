"""The search space: the parameters that a trial sets, and their values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from meme57.config.tree import look_up
from meme57.config.tuning import Dimension

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


def suggest(trial: BaseTrial, space: Sequence[Dimension]) -> dict[str, Any]:
    """Suggest a value for each dotted name; a dimension whose condition is not met is left out."""
    values: dict[str, Any] = {}
    for dimension in space:
        if is_active(dimension, values):
            values[dimension.name] = _suggest_one(trial, dimension)
    return values


def is_active(dimension: Dimension, values: Mapping[str, Any]) -> bool:
    """Say whether the earlier `values` meet the dimension's condition."""
    return all(name in values and values[name] == value for name, value in (dimension.when or {}).items())


def label(choice: Any) -> Any:
    """Return the choice as Optuna stores it: text for a list or a mapping, which Optuna cannot store."""
    return choice if choice is None or isinstance(choice, bool | int | float | str) else json.dumps(choice)


def configured_values(tree: Mapping[str, Any], space: Sequence[Dimension]) -> dict[str, Any]:
    """Return the configured values as Optuna stores them, for every dimension whose range contains them."""
    values = {dimension.name: look_up(tree, dimension.name) for dimension in space}
    equal = {d.name: [*_equal_choices(d, values[d.name]), values[d.name]][0] for d in space}
    inside = {d.name: label(equal[d.name]) for d in space if _holds(d, values[d.name])}
    active = {d.name for d in space if is_active(d, values)}
    return {name: value for name, value in inside.items() if name in active}


def _suggest_one(trial: BaseTrial, dimension: Dimension) -> Any:
    name, low, high, log = dimension.name, dimension.low, dimension.high, dimension.type.startswith("log_")
    if dimension.choices is not None:
        labels = [label(choice) for choice in dimension.choices]
        return dimension.choices[labels.index(trial.suggest_categorical(name, labels))]
    assert low is not None
    assert high is not None
    if dimension.type.endswith("int"):
        return trial.suggest_int(name, int(low), int(high), step=int(dimension.step or 1), log=log)
    return trial.suggest_float(name, low, high, step=dimension.step, log=log)


def _holds(dimension: Dimension, value: Any) -> bool:
    if dimension.choices is not None:
        return bool(_equal_choices(dimension, value))
    assert dimension.low is not None
    assert dimension.high is not None
    if not dimension.low <= value <= dimension.high:
        return False
    return dimension.step is None or divides(dimension.step, value - dimension.low)


def _equal_choices(dimension: Dimension, value: Any) -> list[Any]:
    """List the choices that equal the value: 6 equals 6.0, and 1 is not True."""
    is_switch = isinstance(value, bool)
    return [choice for choice in dimension.choices or () if choice == value and isinstance(choice, bool) == is_switch]


def divides(step: float, width: float) -> bool:
    """Say whether steps of that size lead across the width exactly, but for rounding."""
    return abs(width / step - round(width / step)) < 1e-9
