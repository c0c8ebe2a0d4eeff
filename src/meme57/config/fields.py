"""The kinds of values that parameters have, and the frozen group they stand in."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Limit = Annotated[float, Field(ge=0.0)]
"""What exceeds it is treated otherwise; infinity switches it off, and a configuration keeps it as text."""
Discount = Annotated[float, Field(ge=0.0, lt=1.0)]
Height = Annotated[int, Field(ge=16, le=210)]
Width = Annotated[int, Field(ge=16, le=160)]
FrameSkip = Annotated[int, Field(ge=1, le=16)]
NoopMax = Annotated[int, Field(ge=0, le=30)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class Group(BaseModel):
    """Unknown keys are refused; nothing changes after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class _Operational:
    """The kind of `OPERATIONAL`."""

    def __repr__(self) -> str:
        return "OPERATIONAL"


OPERATIONAL = _Operational()
"""Marks a parameter that shapes neither learning nor its scores, such as a number of threads.

`Annotated[Count, OPERATIONAL]`: it is no part of a run's identity, so it may change while a run goes on.
"""


def operational_names(model: type[BaseModel], prefix: str = "") -> frozenset[str]:
    """Dotted names of the parameters of a tree that are marked `OPERATIONAL`."""
    names: set[str] = set()
    for key, field in model.model_fields.items():
        name = f"{prefix}{field.alias or key}"
        if OPERATIONAL in field.metadata:
            names.add(name)
        elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            names |= operational_names(field.annotation, f"{name}.")
    return frozenset(names)
