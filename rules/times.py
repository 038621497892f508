"""Times as an engineer writes them: hours of the day, days, local moments, spans of time, recurrences.

In: plain values from the YAML tree. Out: annotated types for `windows_model` and `model`. Every local time is in the
time zone of its window; which instant that is, `windows` knows. Must never look at a clock, and never accept a moment
with an offset of its own: two zones for one window would be one too many.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from enum import IntEnum
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from rules.numbers import refuse
from rules.problems import did_you_mean

HOUR = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?\Z", re.ASCII)
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z", re.ASCII)
MOMENT = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9:]+)\Z", re.ASCII)
DURATION = re.compile(
    r"(?:([0-9]{1,4})w)?(?:([0-9]{1,5})d)?(?:([0-9]{1,6})h)?(?:([0-9]{1,7})m(?:in)?)?(?:([0-9]{1,8})s)?\Z"
)
# Area/Location as in the IANA database; which zones there are is asked when the schedule is made.
TIME_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]{0,31}(/[A-Za-z0-9_+-]{1,31}){0,2}\Z", re.ASCII)
# RFC 5545 section 3.3.10: NAME=VALUE pairs; what they mean is read by `windows`.
RECURRENCE = re.compile(r"[A-Z]+=[A-Z0-9,+:-]+(;[A-Z]+=[A-Z0-9,+:-]+)*\Z", re.ASCII)
MAX_RECURRENCE = 500
MAX_DURATION = timedelta(days=366)
FIRST_YEAR, LAST_YEAR = 1970, 2199  # before the epoch and far beyond any plant's life is a slip of the finger


class Weekday(IntEnum):
    """Days of the week, as `datetime.weekday` counts them."""

    MON, TUE, WED, THU, FRI, SAT, SUN = range(7)


WEEKDAYS = {day.name.lower(): day for day in Weekday}


def _weekday(value: Any) -> Weekday:
    if isinstance(value, Weekday):
        return value
    if not isinstance(value, str) or value.lower() not in WEEKDAYS:
        hint = did_you_mean(str(value)[:3].lower(), WEEKDAYS)
        refuse("POL046", f"'{value}' is no day of the week", hint)
    return WEEKDAYS[value.lower()]


def _time_of_day(value: Any) -> time:
    if isinstance(value, time):
        return value
    if value == "24:00":
        return time(0)  # the end of the day is the beginning of the next
    parts = HOUR.match(value) if isinstance(value, str) else None
    if parts is None:
        refuse("POL047", f"'{value}' is no time of day", 'like "06:00" or "22:30", in quotes')
    hour, minute, second = (int(part) for part in parts.groups("0"))
    return time(hour, minute, second)


def _date(value: Any) -> date:
    if isinstance(value, date):
        return value
    found = None
    if isinstance(value, str) and DAY.match(value):
        try:
            found = date.fromisoformat(value)
        except ValueError:
            found = None
    if found is None:
        refuse("POL048", f"'{value}' is no date", "year-month-day, like 2027-01-31")
    if not FIRST_YEAR <= found.year <= LAST_YEAR:
        refuse("POL048", f"the year {found.year} is out of reach", f"{FIRST_YEAR} to {LAST_YEAR}")
    return found


def _moment(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    parts = MOMENT.match(value) if isinstance(value, str) else None
    if parts is None:
        offset = isinstance(value, str) and re.search(r"T[0-9:]+(Z|[+-][0-9:]+)\Z", value)
        hint = "local time of the window's timezone, without offset" if offset else "like 2027-01-31T06:00"
        refuse("POL048", f"'{value}' is no local time", hint)
    return datetime.combine(_date(parts[1]), _time_of_day(parts[2]))


def _beginning(value: Any) -> datetime:
    """A day begins at midnight."""
    if isinstance(value, str) and DAY.match(value):
        return datetime.combine(_date(value), time(0))
    return _moment(value)


def _ending(value: Any) -> datetime:
    """A day that something lasts until belongs to it."""
    if isinstance(value, str) and DAY.match(value):
        return datetime.combine(_date(value), time(0)) + timedelta(days=1)
    return _moment(value)


def _duration(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    parts = DURATION.match(value) if isinstance(value, str) and value else None
    if parts is None:
        refuse("POL049", f"'{value}' is no duration", "like 8h, 90min, 1h30m or 7d")
    weeks, days, hours, minutes, seconds = (int(part) for part in parts.groups("0"))
    length = timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
    if not timedelta(0) < length <= MAX_DURATION:
        refuse("POL049", f"'{value}' is out of reach", "longer than nothing, at most 366 days")
    return length


def duration_text(length: timedelta) -> str:
    """Return a duration as the policy writes it."""
    seconds = int(length.total_seconds())
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        parts += [f"{count}{unit}"] if count else []
    return "".join(parts)


def _time_zone(value: Any) -> str:
    if not isinstance(value, str) or not TIME_ZONE.match(value):
        refuse("POL050", f"'{value}' is no time zone", "a name of the IANA database, like Europe/Berlin or UTC")
    return value


def _recurrence(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MAX_RECURRENCE or not RECURRENCE.match(value):
        refuse("POL051", f"'{value}' is no recurrence", "RFC 5545, like FREQ=MONTHLY;BYDAY=1SA")
    if "FREQ=" not in value:
        refuse("POL051", f"'{value}' does not say how often", "begin with FREQ=DAILY, WEEKLY, MONTHLY or YEARLY")
    return value


_as_iso = PlainSerializer(lambda when: when.isoformat(timespec="seconds"), return_type=str, when_used="json")
_as_hour = PlainSerializer(lambda hour: hour.isoformat("seconds"), return_type=str, when_used="json")
_as_day = PlainSerializer(lambda day: day.isoformat(), return_type=str, when_used="json")
_as_name = PlainSerializer(lambda day: day.name.lower(), return_type=str, when_used="json")
_as_duration = PlainSerializer(duration_text, return_type=str, when_used="json")


def _shape(pattern: str, **more: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, **more})


HOUR_SHAPE = r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?"
DAY_SHAPE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
LENGTH_SHAPE = r"^(?=.)([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m(in)?)?([0-9]+s)?$"
_day_or_moment = _shape(f"^{DAY_SHAPE}([T ]({HOUR_SHAPE}|24:00))?$")
WeekdayName = Annotated[Weekday, BeforeValidator(_weekday), _as_name, WithJsonSchema({"enum": list(WEEKDAYS)})]
TimeOfDay = Annotated[time, BeforeValidator(_time_of_day), _as_hour, _shape(f"^({HOUR_SHAPE}|24:00)$")]
Date = Annotated[date, BeforeValidator(_date), _as_day, _shape(f"^{DAY_SHAPE}$", format="date")]
Moment = Annotated[datetime, BeforeValidator(_moment), _as_iso, _shape(f"^{DAY_SHAPE}[T ]({HOUR_SHAPE}|24:00)$")]
Beginning = Annotated[datetime, BeforeValidator(_beginning), _as_iso, _day_or_moment]
Ending = Annotated[datetime, BeforeValidator(_ending), _as_iso, _day_or_moment]
Duration = Annotated[timedelta, BeforeValidator(_duration), _as_duration, _shape(LENGTH_SHAPE)]
TimeZoneName = Annotated[str, BeforeValidator(_time_zone), _shape(r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}$")]
RecurrenceText = Annotated[str, BeforeValidator(_recurrence), _shape(r"^[A-Z]+=[A-Z0-9,+:-]+(;[A-Z]+=[A-Z0-9,+:-]+)*$")]
