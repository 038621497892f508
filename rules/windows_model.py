"""Windows and plant cycles as an operator wrote them: when something is open, and what must have been seen.

In: plain values from `tree` by way of `load`. Out: frozen models for `windows`, which alone knows what instant a local
time is. Must never compute a time: a weekly hour stays an hour, a recurrence stays its text.
"""

from __future__ import annotations

from datetime import time
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler, WithJsonSchema, model_validator
from pydantic_core import CoreSchema

from rules.numbers import refuse, whole
from rules.strict import Many, Strict
from rules.times import (
    DAY_SHAPE,
    Beginning,
    Duration,
    Ending,
    Moment,
    RecurrenceText,
    TimeOfDay,
    TimeZoneName,
    WeekdayName,
)
from rules.values import RelativePath, Text


class Weekly(Strict):
    """Hours of some days of the week; an end that is not after the beginning is on the next day."""

    days: Annotated[tuple[WeekdayName, ...], Many] = Field(min_length=1)
    start: TimeOfDay = Field(alias="from")
    end: TimeOfDay = Field(alias="to")

    @model_validator(mode="after")
    def _lasts(self) -> Self:
        if self.start == self.end != time(0):
            refuse("POL052", "begins and ends at the same time", 'a whole day is from "00:00" to "24:00"')
        return self


class Recurrence(Strict):
    """Something that begins at a local time, lasts, and comes again by RFC 5545; without `rrule` it comes once."""

    start: Moment
    duration: Duration
    rrule: RecurrenceText | None = None


class Span(Strict):
    """From a local time to another, the end not included; a day as the end is included."""

    start: Beginning = Field(alias="from")
    end: Ending = Field(alias="to")

    @model_validator(mode="after")
    def _lasts(self) -> Self:
        if self.end <= self.start:
            refuse("POL052", "ends before it begins", "exchange 'from' and 'to'?")
        return self


class Once(Span):
    """One opening, and why."""

    reason: Text = ""


class _Day(BeforeValidator):
    """A span, or only the date of one day."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"type": "string", "pattern": f"^{DAY_SHAPE}$"}, handler(core)]}


def one_day(value: Any) -> Any:
    """Take a bare date as the span of that day."""
    return {"from": value, "to": value} if isinstance(value, (str, int)) else value


class Window(Strict):
    """When the conduits that name it are open: any of `weekly`, `rules`, `once` and `ics`, without `except`."""

    timezone: TimeZoneName | None = None  # the site's when absent
    weekly: Annotated[tuple[Weekly, ...], Many] = ()
    rules: Annotated[tuple[Recurrence, ...], Many] = ()
    exceptions: Annotated[tuple[Annotated[Span, _Day(one_day)], ...], Many] = Field((), alias="except")
    once: Annotated[tuple[Once, ...], Many] = ()
    ics: RelativePath | None = None
    description: Text = ""

    @model_validator(mode="after")
    def _opens(self) -> Self:
        if not (self.weekly or self.rules or self.once or self.ics):
            refuse("POL053", "this window never opens", "give weekly, rules, once or ics")
        return self


def _occurrences(value: Any) -> int:
    return whole(value, 1, 1000, "POL020", "number of occurrences")


class Cycle(Strict):
    """What happens in the plant again and again and must have been observed before a stage is raised to enforce."""

    timezone: TimeZoneName | None = None  # the site's when absent
    weekly: Annotated[tuple[Weekly, ...], Many] = ()
    rules: Annotated[tuple[Recurrence, ...], Many] = ()
    every: Duration | None = None
    minimum: Annotated[int, BeforeValidator(_occurrences), WithJsonSchema({"type": "integer", "minimum": 1})] = (
        1  # how many must have been observed
    )
    description: Text = ""

    @model_validator(mode="after")
    def _comes(self) -> Self:
        given = [name for name in ("weekly", "rules", "every") if getattr(self, name)]
        if len(given) != 1:
            refuse("POL053", "a cycle has one of weekly, rules and every", f"given: {', '.join(given) or 'none'}")
        return self
