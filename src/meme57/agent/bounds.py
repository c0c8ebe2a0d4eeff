"""Bounds of numbers, as types. A configuration that nests a dataclass with them checks them; nothing here does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any


class Bound:
    """Limits that Pydantic reads from an annotation, by the names of its core schema; this imports no Pydantic."""

    def __init__(self, **limits: float | bool) -> None:
        self._limits = limits

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """The schema of the type, narrowed."""
        return {**handler(source), **self._limits}


Count = Annotated[int, Bound(ge=1)]
Whole = Annotated[int, Bound(ge=0)]
Fraction = Annotated[float, Bound(ge=0.0, le=1.0)]
Positive = Annotated[float, Bound(gt=0.0, allow_inf_nan=False)]
NonNegative = Annotated[float, Bound(ge=0.0, allow_inf_nan=False)]
Finite = Annotated[float, Bound(allow_inf_nan=False)]
Discount = Annotated[float, Bound(ge=0.0, lt=1.0)]
