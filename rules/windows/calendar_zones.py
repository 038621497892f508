"""The time zones of a calendar file: what its TZIDs mean.

In: VTIMEZONE components, a property with a TZID. Out: `LocalTime`. A name of the IANA database is that zone, whatever
the file says of it: the file's copy may be years old. Any other needs its VTIMEZONE (Outlook calls zones by names of
its own). dateutil reads those. Must never share a zone between files: two files may mean different things by one
name.
"""

from __future__ import annotations

import re
from io import StringIO
from typing import TYPE_CHECKING, Final, cast
from zoneinfo import ZoneInfoNotFoundError

from dateutil.tz import tzical

from rules.windows.calendar_lines import CalendarError, Component
from rules.windows.local_time import LocalTime, local_time
from rules.windows.rrule_text import RuleError, read_rule

if TYPE_CHECKING:
    from datetime import tzinfo

    from rules.windows.calendar_lines import Property

OBSERVANCES: Final = ("STANDARD", "DAYLIGHT")
MEANT: Final = ("DTSTART", "RRULE", "RDATE", "TZOFFSETFROM", "TZOFFSETTO", "TZNAME")
OFFSET: Final = re.compile(r"[+-](0[0-9]|1[0-4])[0-5][0-9]([0-5][0-9])?\Z")  # no clock is further from UTC
MAX_OBSERVANCES: Final = 20  # each is walked through for every question


class Zones:
    """The zones that one file may name; `window` is for times that name none."""

    def __init__(self, window: LocalTime) -> None:
        self.window = window
        self._written: dict[str, Component] = {}
        self._read: dict[str, LocalTime] = {}

    def add(self, zone: Component) -> None:
        """Remember a VTIMEZONE; it is read when a time names it."""
        name = zone.one("TZID")
        if name is None:
            raise CalendarError(zone.line, "a VTIMEZONE without TZID")
        self._written[name.value] = zone

    def of(self, written: Property) -> LocalTime:
        """Return the zone that a property's times are in. Raises CalendarError."""
        name = written.parameters.get("TZID")
        if name is None:
            return self.window
        if name not in self._read:
            self._read[name] = self._find(written.line, name)
        return self._read[name]

    def _find(self, line: int, name: str) -> LocalTime:
        try:
            return local_time(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            pass
        zone = self._written.get(name)
        if zone is None:
            hint = "a name of the IANA database, or export the calendar with its time zones"
            raise CalendarError(line, f"no VTIMEZONE says what '{name[:60]}' is", hint)
        return LocalTime(_zone(zone))


def _zone(zone: Component) -> tzinfo:
    lines = ["BEGIN:VTIMEZONE", "TZID:zone"]
    if len(zone.below) > MAX_OBSERVANCES:
        raise CalendarError(zone.line, f"a VTIMEZONE with more than {MAX_OBSERVANCES} parts", "", "POL076")
    for part in zone.below:
        if part.name not in OBSERVANCES:
            raise CalendarError(part.line, f"{part.name} is no part of a VTIMEZONE", "STANDARD and DAYLIGHT are")
        _check(part)
        kept = [f"{found.name}:{found.value}" for found in part.properties if found.name in MEANT]
        lines += [f"BEGIN:{part.name}", *kept, f"END:{part.name}"]
    try:
        return cast("tzinfo", tzical(StringIO("\n".join([*lines, "END:VTIMEZONE", ""]))).get())
    except (ValueError, OverflowError, KeyError) as error:
        raise CalendarError(zone.line, f"this VTIMEZONE can't be read: {error}") from None


def _check(part: Component) -> None:
    """Refuse what would make dateutil walk for minutes or give an offset that is none."""
    for name in ("TZOFFSETFROM", "TZOFFSETTO"):
        offset = part.one(name)
        if offset is None or not OFFSET.match(offset.value):
            line = part.line if offset is None else offset.line
            raise CalendarError(line, f"a {part.name} without a proper {name}", "like +0100")
    written = part.one("RRULE")
    if written is None:
        return
    try:
        rule = read_rule(written.value.upper())
    except RuleError as error:
        raise CalendarError(written.line, str(error), error.hint) from None
    if rule.frequency != "YEARLY" or any(name in written.value.upper() for name in ("BYHOUR", "BYMINUTE", "BYSECOND")):
        raise CalendarError(written.line, "a time zone changes once a year", "FREQ=YEARLY")
