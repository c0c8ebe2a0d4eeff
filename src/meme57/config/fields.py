"""Types of parameter values, and the frozen group that holds parameters."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable
from typing import Annotated, Any, get_args, get_type_hints

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

STUDY, SUITE = "tune-", "suite-"
"""How the folders of studies and suites begin. They lie beside those of runs, so no run's name begins like this."""
LONGEST_NAME = 100

Limit = Annotated[float, Field(ge=0.0)]
"""A threshold. Infinity switches it off; a configuration keeps infinity as text."""
Height = Annotated[int, Field(ge=16, le=210)]
Width = Annotated[int, Field(ge=16, le=160)]
FrameSkip = Annotated[int, Field(ge=1, le=16)]
NoopMax = Annotated[int, Field(ge=0, le=30)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


def _listed(value: Any) -> Any:
    """Make a list of a value that stands alone, as `--params suite.seeds=11` gives it."""
    return (value,) if type(value) in (int, str) else value


Alone = BeforeValidator(_listed)
Seeds = Annotated[tuple[Seed, ...], Alone]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


def is_reserved(name: str) -> bool:
    """Say whether a run of this name would lie in a study's or a suite's folder; some file systems ignore case."""
    return name.lower().startswith((STUDY, SUITE))


def _for_runs(name: str) -> str:
    return _unreserved(name, name)


def _for_members(prefix: str) -> str:
    return _unreserved(prefix, f"{prefix}-")


def _unreserved(name: str, begins: str) -> str:
    if is_reserved(begins):
        words = f"names that begin with {STUDY} or {SUITE} are for studies and suites: take another, such as my-{name}"
        raise PydanticCustomError("reserved_name", "{words}", {"words": words})
    return name


RunName = Annotated[Name, AfterValidator(_for_runs)]
RunPrefix = Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,39})?$"), AfterValidator(_for_members)]


def joined(names: Iterable[str], longest: int = LONGEST_NAME) -> str:
    """Join names into one that a folder may have; a long list ends in its digest, so that two lists never collide."""
    text = "-".join(names)
    if len(text) <= longest:
        return text
    return f"{text[: longest - 13]}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


class Group(BaseModel):
    """A group of parameters: it refuses unknown keys, and is frozen after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True)


OPERATIONAL = "operational"
"""Marks a parameter that shapes neither learning nor its scores, such as a number of threads.

`Annotated[Count, OPERATIONAL]`: it is no part of a run's identity, so a run may resume with another value.
"""


def fields_of(group: type) -> dict[str, FieldInfo]:
    """Return the fields of a group by name; a group is a model, or a dataclass that the agent owns."""
    if issubclass(group, BaseModel):
        return group.model_fields
    return {name: FieldInfo.from_annotation(hint) for name, hint in get_type_hints(group, include_extras=True).items()}


def group_in(annotation: Any) -> type | None:
    """Find the group that a field's annotation names, or that its list holds; None if there is none."""
    kinds = [kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type)]
    return next((kind for kind in kinds if issubclass(kind, BaseModel) or dataclasses.is_dataclass(kind)), None)


def operational_names(group: type, prefix: str = "") -> frozenset[str]:
    """Collect the dotted names of the parameters in a tree that are marked `OPERATIONAL`."""
    names: set[str] = set()
    for key, field in fields_of(group).items():
        name = f"{prefix}{field.alias or key}"
        if OPERATIONAL in field.metadata:
            names.add(name)
        elif dataclasses.is_dataclass(field.annotation) or isinstance(field.annotation, type(BaseModel)):
            names |= operational_names(field.annotation, f"{name}.")
    return frozenset(names)
