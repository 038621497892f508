"""Local time and instants: the one place that knows what the clocks do in spring and autumn.

In: a time zone, local moments without zone, instants as whole seconds since 1970 UTC. Out: the stretches in which the
offset to UTC is constant, and the instant of a local moment (semantics.md, "Windows", 5). It asks a zone only for the
offset of an instant, so zones of the IANA database and those of calendar files are treated alike. Must never read a
clock.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo

DAY: Final = 86_400
EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 local moments are counted from local midnight
FIRST: Final = 0  # 1970-01-01
LAST: Final = 7_258_118_400  # 2200-01-01; no window is open from here on
YEAR: Final = 366 * DAY
CHUNK: Final = 128 * DAY  # what is worked out at once and remembered
Segment = tuple[int, int, int]  # begin, end, offset in seconds


def second_of(instant: datetime) -> int:
    """Return the whole second that an instant lies in. Raises ValueError for a moment without time zone."""
    if instant.tzinfo is None:
        raise ValueError("an instant has a time zone")
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)


def instant_of(second: int) -> datetime:
    """Return a second as an instant in UTC."""
    return datetime.fromtimestamp(second, UTC)


def wall_second(moment: datetime) -> int:
    """Return a local moment as seconds since local 1970, as if every day had 86,400 of them."""
    return (moment - EPOCH) // timedelta(seconds=1)


class LocalTime:
    """One time zone."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self._changes: dict[int, list[tuple[int, int]]] = {}  # chunk → (second, offset from there on)

    def offset(self, second: int) -> int:
        """Return local time minus UTC, in seconds, at an instant."""
        offset = datetime.fromtimestamp(second, self._zone).utcoffset()
        return 0 if offset is None else offset // timedelta(seconds=1)

    def wall(self, second: int) -> datetime:
        """Return what the clock shows at an instant, without zone."""
        return EPOCH + timedelta(seconds=second + self.offset(second))

    def segments(self, begin: int, end: int) -> list[Segment]:
        """Return the stretches of constant offset that cover the time from begin to end."""
        found: list[Segment] = []
        here, offset = begin, self.offset(begin)
        for chunk in range(begin // CHUNK, (end - 1) // CHUNK + 1):
            for at, after in self._changes_in(chunk):
                if here < at < end and after != offset:
                    found.append((here, at, offset))
                    here, offset = at, after
        found.append((here, end, offset))
        return found

    def instant(self, moment: datetime) -> int:
        """Return the instant of a local moment: the first where there are two, behind the gap where there is none."""
        wall = wall_second(moment)
        # No offset is further from UTC than 15 hours, so the moment is within a day of the same numbers in UTC.
        segments = self.segments(wall - DAY, wall + DAY)
        for begin, end, offset in segments:
            if wall - offset < begin:
                return begin  # the segments before showed only earlier times: the clock jumped over this one
            if wall - offset < end:
                return wall - offset
        raise AssertionError("an offset of more than a day")

    def _changes_in(self, chunk: int) -> list[tuple[int, int]]:
        """Return a chunk's offset at its beginning and every change in it."""
        known = self._changes.get(chunk)
        if known is None:
            begin = chunk * CHUNK
            known = [(begin, self.offset(begin))]
            # Two changes within one day that take each other back are not in the database.
            for day in range(begin, begin + CHUNK, DAY):
                after = self.offset(day + DAY)
                if after != known[-1][1]:
                    known.append((self._change_between(day, day + DAY), after))
            self._changes[chunk] = known
        return known

    def _change_between(self, before: int, after: int) -> int:
        """Return the first second with the offset that stands at `after`."""
        offset = self.offset(before)
        while after - before > 1:
            middle = (before + after) // 2
            if self.offset(middle) == offset:
                before = middle
            else:
                after = middle
        return after


@cache
def local_time(name: str) -> LocalTime:
    """Return the local time of a zone of the IANA database. Raises ZoneInfoNotFoundError or ValueError."""
    return LocalTime(ZoneInfo(name))
