"""An .ics file → openings: every VEVENT that is not cancelled.

In: the bytes of a file and the window's local time, for times without a zone. Out: sources of spans, or
`CalendarError` with the line. SPEC: RFC 5545 sections 3.6.1 and 3.8.5; semantics.md, "Windows", 7. What would change
when something is open and is not understood is refused: a calendar that opens less than its author saw is as wrong as
one that opens more.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Final

from icalendar.prop import vDuration

from rules.windows.calendar_lines import CalendarError, Component, Property, read_components
from rules.windows.calendar_zones import Zones
from rules.windows.local_time import instant_of, local_time
from rules.windows.recurrence import Moments, Recurring
from rules.windows.rrule_text import RuleError, read_rule, read_time
from rules.windows.timetable import Fixed

if TYPE_CHECKING:
    from rules.windows.local_time import LocalTime
    from rules.windows.rrule_text import Rule
    from rules.windows.spans import Span
    from rules.windows.timetable import Source

MAX_EVENTS: Final = 10_000
MAX_RECURRING: Final = 500
MAX_LENGTH: Final = timedelta(days=366)
FIRST_YEAR, LAST_YEAR = 1970, 2199  # as `rules.times`
NOT_UNDERSTOOD: Final = ("VTODO", "VJOURNAL", "VFREEBUSY", "VAVAILABILITY")  # they too are about times


@dataclass(frozen=True, slots=True)
class Moment:
    """A time in the file: local, in its own zone; `whole_day` for a date."""

    local: LocalTime
    at: datetime
    whole_day: bool

    @property
    def instant(self) -> int:
        """The second it stands for."""
        return self.local.instant(self.at)


def read_calendar(content: bytes, window: LocalTime) -> list[Source]:
    """Return the openings of a calendar file. Raises CalendarError."""
    calendars = read_components(content)
    if not calendars:
        raise CalendarError(0, "the file is empty", "a calendar begins with BEGIN:VCALENDAR")
    events: list[Component] = []
    zones = Zones(window)
    for calendar in calendars:
        if calendar.name != "VCALENDAR":
            raise CalendarError(
                calendar.line, f"{calendar.name} is no calendar", "a calendar begins with BEGIN:VCALENDAR"
            )
        for found in calendar.below:
            if found.name == "VEVENT":
                events.append(found)
            elif found.name == "VTIMEZONE":
                zones.add(found)
            elif found.name in NOT_UNDERSTOOD:
                raise CalendarError(
                    found.line, f"{found.name} says nothing that a window understands", "only VEVENT does"
                )
    if len(events) > MAX_EVENTS:
        raise CalendarError(events[MAX_EVENTS].line, f"more than {MAX_EVENTS} events", "keep those to come", "POL076")
    return _Reader(zones).sources(events)


class _Reader:
    def __init__(self, zones: Zones) -> None:
        self._zones = zones
        self._recurring = 0
        self._moved: dict[str, set[int]] = defaultdict(set)  # UID → the occurrences that events of their own replace

    def sources(self, events: list[Component]) -> list[Source]:
        for event in events:
            moved = event.one("RECURRENCE-ID")
            if moved is not None:
                if "RANGE" in moved.parameters:
                    raise CalendarError(moved.line, "RANGE is not understood", "write the occurrences out")
                self._moved[_uid(event)].add(self._moment(moved).instant)
        found: list[Source] = []
        single: list[Span] = []
        for event in events:
            if not _cancelled(event):
                recurring = self._event(event, single)
                found += [recurring] if recurring is not None else []
        return [*found, Fixed(single)]

    def _event(self, event: Component, single: list[Span]) -> Recurring | None:
        """Append an event's openings that no rule names, and return those that one does."""
        for exceptional in event.all("EXRULE"):
            raise CalendarError(exceptional.line, "EXRULE is not understood", "RFC 5545 has EXDATE")
        written = event.one("DTSTART")
        if written is None:
            raise CalendarError(event.line, "an event without DTSTART", "when does it begin?")
        start = self._moment(written)
        length = self._length(event, start)
        seconds, days = (0, length.days) if start.whole_day else (length // timedelta(seconds=1), 0)
        replaced = self._moved[_uid(event)] if event.one("RECURRENCE-ID") is None else set()
        removed = frozenset(replaced | set(self._instants(event, "EXDATE", start)))
        begins = self._instants(event, "RDATE", start)
        rule = _rule(event)
        if rule is None:
            begins.append(start.instant)
        single += [(begin, _end(start.local, begin, seconds, days)) for begin in begins if begin not in removed]
        if rule is None:
            return None
        self._recurring += 1
        if self._recurring > MAX_RECURRING:
            raise CalendarError(event.line, f"more than {MAX_RECURRING} events with RRULE", "", "POL076")
        moments = Moments(start.at, rule)
        _check(event, moments, start)
        return Recurring(start.local, moments, seconds=seconds, days=days, until=rule.until_utc, removed=removed)

    def _length(self, event: Component, start: Moment) -> timedelta:
        """Return how long the event lasts: elapsed time, or days of the calendar for an event of dates."""
        end, duration = event.one("DTEND"), event.one("DURATION")
        if end is not None and duration is not None:
            raise CalendarError(duration.line, "DTEND and DURATION exclude each other", "keep one of them")
        if end is not None:
            until = self._moment(end)
            if until.whole_day != start.whole_day:
                raise CalendarError(end.line, "DTEND is a date where DTSTART is a time, or the other way round")
            length = until.at - start.at if start.whole_day else instant_of(until.instant) - instant_of(start.instant)
            line = end.line
        elif duration is not None:
            length, line = _duration(duration), duration.line
            if start.whole_day and length % timedelta(days=1):
                raise CalendarError(line, "an event of dates lasts whole days")
        else:
            return timedelta(days=1) if start.whole_day else timedelta(0)  # RFC 5545 section 3.6.1
        if not timedelta(0) <= length <= MAX_LENGTH:
            raise CalendarError(line, "the event ends before it begins or lasts longer than a year")
        return length

    def _instants(self, event: Component, name: str, start: Moment) -> list[int]:
        found = []
        for written in event.all(name):
            for moment in self._moments(written):
                if moment.whole_day != start.whole_day:
                    raise CalendarError(written.line, f"{name} and DTSTART are not both dates or both times")
                found.append(moment.instant)
        return found

    def _moment(self, written: Property) -> Moment:
        moments = self._moments(written)
        if len(moments) != 1:
            raise CalendarError(written.line, f"{written.name} is one time")
        return moments[0]

    def _moments(self, written: Property) -> list[Moment]:
        if written.parameters.get("VALUE", "").upper() == "PERIOD":
            raise CalendarError(written.line, "periods are not understood", "write RDATE with beginnings only")
        return [self._read(written, text) for text in written.value.split(",")]

    def _read(self, written: Property, text: str) -> Moment:
        value = read_time(text)
        if value is None or not FIRST_YEAR <= value.year <= LAST_YEAR:
            detail = f"'{text[:40]}' is no date and no time within {FIRST_YEAR} to {LAST_YEAR}"
            raise CalendarError(written.line, detail, "like 20270131 or 20270131T060000Z")
        if not isinstance(value, datetime):
            return Moment(self._zones.window, datetime.combine(value, time()), whole_day=True)
        local = local_time("UTC") if value.tzinfo is not None else self._zones.of(written)
        return Moment(local, value.replace(tzinfo=None), whole_day=False)


def _check(event: Component, moments: Moments, start: Moment) -> None:
    written = event.one("RRULE")
    if written is None:
        return
    try:
        moments.check()
    except RuleError as error:
        raise CalendarError(written.line, str(error), error.hint, error.code) from None
    if start.at not in list(moments.between(start.at, start.at)):
        detail = "DTSTART is not among what RRULE names, which RFC 5545 leaves without meaning"
        raise CalendarError(written.line, detail, "let the event begin at its first occurrence")


def _rule(event: Component) -> Rule | None:
    written = event.one("RRULE")
    if written is None:
        return None
    try:
        return read_rule(written.value.upper())
    except RuleError as error:
        raise CalendarError(written.line, str(error), error.hint, error.code) from None


def _end(local: LocalTime, begin: int, seconds: int, days: int) -> int:
    return local.instant(local.wall(begin) + timedelta(days=days)) if days else begin + seconds


def _duration(written: Property) -> timedelta:
    try:
        length: timedelta = vDuration.from_ical(written.value)
    except (ValueError, OverflowError):
        raise CalendarError(written.line, f"'{written.value[:40]}' is no duration", "like PT8H or P1D") from None
    return length


def _uid(event: Component) -> str:
    found = event.one("UID")
    if found is None:
        raise CalendarError(event.line, "an event without UID", "RFC 5545 section 3.6.1 asks for one")
    return found.value


def _cancelled(event: Component) -> bool:
    status = event.one("STATUS")
    return status is not None and status.value.upper() == "CANCELLED"
