"""Bounds of numbers, as types. A configuration that nests a dataclass of such types checks them; nothing here does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any


class Bound:
    """Limits that Pydantic reads from an annotation, named as in its core schema; this module does not import it."""

    def __init__(self, **limits: float | bool) -> None:
        self._limits = limits

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """Return the schema of the type, with the limits added."""
        return {**handler(source), **self._limits}


Count = Annotated[int, Bound(ge=1)]
Whole = Annotated[int, Bound(ge=0)]
Fraction = Annotated[float, Bound(ge=0.0, le=1.0)]
Positive = Annotated[float, Bound(gt=0.0, allow_inf_nan=False)]
NonNegative = Annotated[float, Bound(ge=0.0, allow_inf_nan=False)]
Finite = Annotated[float, Bound(allow_inf_nan=False)]
Discount = Annotated[float, Bound(ge=0.0, lt=1.0)]
