"""Security levels of IEC 62443-3-3: a vector of the seven foundational requirements, and its arithmetic.

In: a number (all seven alike), seven numbers, or a mapping by requirement, as the policy writes them. Out: `Levels` and
the questions that checks ask: what is the most, the least, does this capability cover that target, by how much not.
Levels are 0 (no requirement) to 4 and are compared per requirement (62443-3-3 annex A): vectors have no order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from rules.numbers import refuse, whole
from rules.problems import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable

HIGHEST = 4


class Levels(NamedTuple):
    """One level per foundational requirement, in the standard's order (FR 1 to FR 7)."""

    iac: int  # identification and authentication control
    uc: int  # use control
    si: int  # system integrity
    dc: int  # data confidentiality
    rdf: int  # restricted data flow
    tre: int  # timely response to events
    ra: int  # resource availability

    def covers(self, target: Levels) -> bool:
        """Tell whether every requirement is met: SL-C at least SL-T, one by one."""
        return all(have >= want for have, want in zip(self, target, strict=True))

    def gap(self, target: Levels) -> Levels:
        """Return by how much each requirement misses the target; 0 where it is met."""
        return Levels(*(max(0, want - have) for have, want in zip(self, target, strict=True)))

    def written(self) -> int | list[int]:
        """Return the shortest form that the policy language reads as these levels."""
        return self.iac if len(set(self)) == 1 else list(self)

    def __str__(self) -> str:
        return str(self.written())


NONE = Levels(*(0,) * 7)


def uniform(level: int) -> Levels:
    """Return all seven at one level."""
    return Levels(*(level,) * 7)


def most(several: Iterable[Levels]) -> Levels:
    """Return the highest of each requirement; of nothing: none."""
    vectors = list(several)
    return Levels(*map(max, zip(*vectors, strict=True))) if vectors else NONE


def least(several: Iterable[Levels]) -> Levels:
    """Return the lowest of each requirement; of nothing: the highest there is."""
    vectors = list(several)
    return Levels(*map(min, zip(*vectors, strict=True))) if vectors else uniform(HIGHEST)


def _level(value: Any) -> int:
    return whole(value, 0, HIGHEST, "POL020", "security level")


def _levels(value: Any) -> Levels:
    if isinstance(value, Levels):
        return value
    if isinstance(value, dict):
        for key in value:
            if key not in Levels._fields:
                hint = did_you_mean(str(key), Levels._fields)
                refuse("POL020", f"'{key}' is no foundational requirement", hint)
        return Levels(*(_level(value.get(name, 0)) for name in Levels._fields))
    if isinstance(value, (list, tuple)):
        if len(value) != len(Levels._fields):
            hint = "one per foundational requirement"
            refuse("POL020", f"a security level vector has 7 numbers, not {len(value)}", hint)
        return Levels(*map(_level, value))
    return uniform(_level(value))


LEVEL_SHAPE = {"type": "integer", "minimum": 0, "maximum": HIGHEST}
LEVELS_SHAPE: dict[str, Any] = {
    "anyOf": [
        LEVEL_SHAPE,
        {"type": "array", "items": LEVEL_SHAPE, "minItems": 7, "maxItems": 7},
        {"type": "object", "properties": dict.fromkeys(Levels._fields, LEVEL_SHAPE), "additionalProperties": False},
    ]
}
SecurityLevel = Annotated[
    Levels,
    BeforeValidator(_levels),
    PlainSerializer(Levels.written, return_type=Any, when_used="json"),
    WithJsonSchema(LEVELS_SHAPE),
]
