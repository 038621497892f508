"""Weekly hours: what the wall clock shows.

In: entries of days, beginning and end; the stretches of constant offset of a time zone. Out: spans. Within one such
stretch local time runs as UTC does, so hours that the clock skips or repeats need no case of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.windows.local_time import DAY
from rules.windows.spans import merged

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import time

    from rules.windows.local_time import LocalTime
    from rules.windows.spans import Span
    from rules.windows_model import Weekly

THURSDAY = 3  # the weekday of 1970-01-01, Monday being 0


def _seconds(hour: time) -> int:
    return hour.hour * 3600 + hour.minute * 60 + hour.second


class WeeklyHours:
    """The entries of one window in one time zone."""

    def __init__(self, local: LocalTime, entries: Iterable[Weekly]) -> None:
        self._local = local
        self._days: list[list[Span]] = [[] for _ in range(7)]  # weekday → seconds of that day; may reach into the next
        for entry in entries:
            begin, end = _seconds(entry.start), _seconds(entry.end)
            for day in set(entry.days):
                self._days[day].append((begin, end if end > begin else end + DAY))

    def spans(self, begin: int, end: int) -> list[Span]:
        """Return when it is open between two instants."""
        found: list[Span] = []
        for first, last, offset in self._local.segments(begin, end):
            # One day earlier: its hours may reach over midnight.
            for day in range((first + offset) // DAY - 1, (last + offset) // DAY + 1):
                midnight = day * DAY - offset
                for opens, closes in self._days[(day + THURSDAY) % 7]:
                    found.append((max(midnight + opens, first), min(midnight + closes, last)))
        return merged(found)
