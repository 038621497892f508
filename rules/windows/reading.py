"""Windows as written → timetables, or every mistake in them with its place.

In: a policy, with the calendar files that came with it. Out: `Timetable` objects by name, or problems POL070 to
POL079. What time zones there are, what a recurrence means and what a calendar file says is found out here, once; must
never guess.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfoNotFoundError, available_timezones

from rules.problems import PolicyError, Problem, did_you_mean
from rules.windows.calendar_file import read_calendar
from rules.windows.calendar_lines import CalendarError
from rules.windows.local_time import local_time
from rules.windows.recurrence import Moments, Recurring
from rules.windows.rrule_text import RuleError, read_rule
from rules.windows.timetable import Fixed, Timetable
from rules.windows.weekly import WeeklyHours

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rules.model import Policy
    from rules.windows.local_time import LocalTime
    from rules.windows.spans import Span as Stretch
    from rules.windows.timetable import Source
    from rules.windows_model import Cycle, Recurrence, Span, Window

Place = tuple[str | int, ...]
MAX_RULES = 1_000  # in a policy, its calendar files included: each may take a tenth of a second to find out about


def timetables(policy: Policy) -> dict[str, Timetable]:
    """Return every window's timetable. Raises PolicyError."""
    reader = Reader(policy)
    found = {name: reader.window(name, window) for name, window in policy.windows.items()}
    if reader.problems:
        raise PolicyError(reader.problems)
    return {name: table for name, table in found.items() if table is not None}


def problems(policy: Policy) -> list[Problem]:
    """Return what is wrong with the windows and cycles of a policy."""
    reader = Reader(policy)
    for name, window in policy.windows.items():
        reader.window(name, window)
    for name, cycle in policy.cycles.items():
        reader.cycle(name, cycle)
    return reader.problems


class Reader:
    """Reads windows and cycles; `problems` grows."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.problems: list[Problem] = []
        self._rules = 0

    def window(self, name: str, window: Window) -> Timetable | None:
        """Return a window's timetable, or None after noting problems."""
        place: Place = ("windows", name)
        local = self._local(place, window.timezone)
        if local is None:
            return None
        openings = self._regular(place, local, window)
        if window.ics is not None:
            openings += self._calendar((*place, "ics"), local, window.ics)
        return Timetable(openings, Fixed(_stretches(local, window.exceptions)), Fixed(_stretches(local, window.once)))

    def cycle(self, name: str, cycle: Cycle) -> Timetable | None:
        """Return the timetable of a cycle of weekly hours or rules, or None after noting problems."""
        place: Place = ("cycles", name)
        local = self._local(place, cycle.timezone)
        return None if local is None else Timetable(self._regular(place, local, cycle), Fixed(()), Fixed(()))

    def _local(self, place: Place, own: str | None) -> LocalTime | None:
        name = own or self._policy.site.timezone
        where = (*place, "timezone") if own else ("site", "timezone")
        try:
            return local_time(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            hint = did_you_mean(name, available_timezones()) or "a name of the IANA database, like Europe/Berlin or UTC"
            self._note(where, f"there is no time zone '{name}'", hint, "POL070")
            return None

    def _regular(self, place: Place, local: LocalTime, what: Window | Cycle) -> list[Source]:
        found: list[Source] = [WeeklyHours(local, what.weekly)] if what.weekly else []
        for number, rule in enumerate(what.rules):
            found += self._recurrence((*place, "rules", number), local, rule)
        return found

    def _recurrence(self, place: Place, local: LocalTime, recurrence: Recurrence) -> list[Source]:
        self._rules += 1
        if self._rules > MAX_RULES:
            if self._rules == MAX_RULES + 1:
                self._note(
                    place, f"more than {MAX_RULES} recurrences in one policy", "let conduits share windows", "POL072"
                )
            return []
        try:
            rule = read_rule(recurrence.rrule) if recurrence.rrule is not None else None
            moments = Moments(recurrence.start, rule)
            moments.check()
        except RuleError as error:
            self._note((*place, "rrule"), str(error), error.hint, error.code)
            return []
        seconds = recurrence.duration // timedelta(seconds=1)
        return [Recurring(local, moments, seconds=seconds, until=rule.until_utc if rule is not None else None)]

    def _calendar(self, place: Place, local: LocalTime, name: str) -> list[Source]:
        content = self._policy.attachment(name)
        if content is None:
            self._note(place, f"'{name}' did not come with the policy", "is the file there?", "POL074")
            return []
        try:
            return read_calendar(content, local)
        except CalendarError as error:
            problem = Problem(name, error.line, 1 if error.line else 0, str(error), error.hint, error.code)
            self.problems.append(problem)
            return []

    def _note(self, place: Place, text: str, hint: str, code: str) -> None:
        self.problems.append(Problem(*self._policy.place(*place), text, hint, code))


def _stretches(local: LocalTime, spans: Iterable[Span]) -> Iterable[Stretch]:
    return [(local.instant(span.start), local.instant(span.end)) for span in spans]
