"""The slow twin of "Windows" in docs/reference/semantics.md: is a window open at this very second?

In: a window as plain values of the YAML, a zone's name, the last instant of interest. Out: yes or no, found by
looking at the clock on the wall of that second, and by walking over every day since a recurrence began. Written only
from the page; must never take anything from `rules`, and never be made fast.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
CODES = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
DAY = 86_400
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 what the clock shows has no zone


def seconds(text: str) -> int:
    """Return a time of day in seconds."""
    hours, minutes, *rest = (int(part) for part in text.split(":"))
    return hours * 3600 + minutes * 60 + (rest[0] if rest else 0)


def numbers(text: str) -> list[int]:
    """Return the numbers of a part of a rule."""
    return [int(word) for word in text.split(",")]


class WindowTwin:
    """One window; `last` is the last second that will be asked for."""

    def __init__(self, window: dict[str, Any], zone: str, last: int) -> None:
        self._window = window
        self._zone = ZoneInfo(zone)
        self._last = last
        self.openings = [opening for rule in window.get("rules", ()) for opening in self._recurring(rule)]
        self.exceptions = [self._span(entry) for entry in window.get("except", ())]
        self.once = [self._span(entry) for entry in window.get("once", ())]
        self._by_day: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for begin, end in self.openings:
            for day in range(begin // DAY, end // DAY + 1):
                self._by_day[day].append((begin, end))

    def open_at(self, second: int) -> bool:
        """Say whether it is open in this second."""
        if any(begin <= second < end for begin, end in self.once):
            return True
        if any(begin <= second < end for begin, end in self.exceptions):
            return False
        return self._weekly_at(second) or any(begin <= second < end for begin, end in self._by_day[second // DAY])

    def edges(self, begin: int, end: int) -> set[int]:
        """Return the seconds at which something may change, and many at which nothing does."""
        found = {edge for spans in (self.openings, self.exceptions, self.once) for span in spans for edge in span}
        walls = {seconds(entry[key]) for entry in self._window.get("weekly", ()) for key in ("from", "to")}
        for day in range(begin // DAY - 1, end // DAY + 2):
            offsets = {self._offset(day * DAY), self._offset(day * DAY + DAY)}
            found |= {day * DAY + wall - offset for wall in walls for offset in offsets}
        return {edge for edge in found if begin <= edge < end}

    def _offset(self, second: int) -> int:
        offset = datetime.fromtimestamp(second, self._zone).utcoffset()
        assert offset is not None
        return int(offset.total_seconds())

    def _wall(self, second: int) -> datetime:
        return datetime.fromtimestamp(second, self._zone).replace(tzinfo=None)

    def _weekly_at(self, second: int) -> bool:
        wall = self._wall(second)
        here = wall.hour * 3600 + wall.minute * 60 + wall.second
        today, yesterday = DAYS[wall.weekday()], DAYS[wall.weekday() - 1]
        for entry in self._window.get("weekly", ()):
            begin, end = seconds(entry["from"]), seconds(entry["to"])
            if begin < end:
                if today in entry["days"] and begin <= here < end:
                    return True
            elif (today in entry["days"] and here >= begin) or (yesterday in entry["days"] and here < end):
                return True
        return False

    def _instant(self, moment: datetime) -> int:
        """Return the first second in which the clock shows this moment or, jumping over it, a later one."""
        around = int((moment - EPOCH).total_seconds())
        second = around - 26 * 3600  # no clock is that far ahead of UTC
        for step in (3600, 60, 1):
            while self._wall(second + step) < moment:
                second += step
        return second + 1

    def _span(self, entry: Any) -> tuple[int, int]:
        begin, end = (entry["from"], entry["to"]) if isinstance(entry, dict) else (entry, entry)
        first = datetime.fromisoformat(begin)
        last = datetime.fromisoformat(end) + (timedelta(days=1) if len(end) == 10 else timedelta(0))
        return self._instant(first), self._instant(last)

    def _recurring(self, rule: dict[str, Any]) -> list[tuple[int, int]]:
        start = datetime.fromisoformat(rule["start"])
        length = int(rule["duration"].removesuffix("m")) * 60
        parts = dict(part.split("=") for part in rule["rrule"].split(";")) if "rrule" in rule else {"COUNT": "1"}
        found: list[tuple[int, int]] = []
        for count, moment in enumerate(self._moments(start, parts), start=1):
            begin = self._instant(moment)
            until = parts.get("UNTIL", "")
            if until.endswith("Z") and begin > datetime.fromisoformat(until).timestamp():
                break
            if begin > self._last or count > int(parts.get("COUNT", "1000000")):
                break
            found.append((begin, begin + length))
        return found

    def _moments(self, start: datetime, parts: dict[str, str]) -> list[datetime]:
        if "FREQ" not in parts:
            return [start]
        found: list[datetime] = []
        period: list[datetime] = []
        name = None
        for number in range((EPOCH + timedelta(seconds=self._last + 3 * DAY) - start).days + 2):
            day = start.date() + timedelta(days=number)
            if _period(day, parts["FREQ"]) != name:
                found += _chosen(period, parts)
                period, name = [], _period(day, parts["FREQ"])
            if _matches(day, start.date(), parts):
                period += _times(day, start, parts)
        found += _chosen(period, parts)
        until = parts.get("UNTIL", "Z")
        if not until.endswith("Z"):
            last = datetime.fromisoformat(until + "T235959" * ("T" not in until))
            found = [moment for moment in found if moment <= last]
        return [moment for moment in found if moment >= start]


def _period(day: date, frequency: str) -> tuple[int, ...]:
    if frequency == "YEARLY":
        return (day.year,)
    return (day.year, day.month) if frequency == "MONTHLY" else (day.toordinal(),)


def _chosen(period: list[datetime], parts: dict[str, str]) -> list[datetime]:
    if "BYSETPOS" not in parts:
        return period
    size = len(period)
    wanted = {at - 1 if at > 0 else size + at for at in numbers(parts["BYSETPOS"])}
    return [moment for at, moment in enumerate(period) if at in wanted]


def _times(day: date, start: datetime, parts: dict[str, str]) -> list[datetime]:
    midnight = datetime.combine(day, time())
    if parts["FREQ"] == "HOURLY":
        first = start.replace(minute=0, second=0)
        interval = int(parts.get("INTERVAL", "1"))
        hours = [
            hour
            for hour in range(24)
            if ((midnight + timedelta(hours=hour) - first) // timedelta(hours=1)) % interval == 0
        ]
    else:
        hours = sorted(numbers(parts["BYHOUR"])) if "BYHOUR" in parts else [start.hour]
    return [midnight.replace(hour=hour, minute=start.minute, second=start.second) for hour in hours]


def _matches(day: date, start: date, parts: dict[str, str]) -> bool:
    """Say whether a rule names a day, by RFC 5545 section 3.3.10 and the calendar; one BY part of days at most."""
    interval = int(parts.get("INTERVAL", "1"))
    frequency = parts["FREQ"]
    apart = {
        "HOURLY": 0,
        "DAILY": (day - start).days,
        "WEEKLY": ((day - timedelta(days=day.weekday())) - (start - timedelta(days=start.weekday()))).days // 7,
        "MONTHLY": (day.year - start.year) * 12 + day.month - start.month,
        "YEARLY": day.year - start.year,
    }[frequency]
    if apart % interval or ("BYMONTH" in parts and day.month not in numbers(parts["BYMONTH"])):
        return False
    return _matches_day(day, start, parts)


def _matches_day(day: date, start: date, parts: dict[str, str]) -> bool:
    frequency = parts["FREQ"]
    if "BYMONTHDAY" in parts:
        length = ((day.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)).day
        return bool({day.day, day.day - length - 1} & set(numbers(parts["BYMONTHDAY"])))
    if "BYYEARDAY" in parts:
        at, length = day.timetuple().tm_yday, date(day.year, 12, 31).timetuple().tm_yday
        return bool({at, at - length - 1} & set(numbers(parts["BYYEARDAY"])))
    if "BYDAY" in parts:
        return any(
            _is_weekday(day, word, by_year=frequency == "YEARLY" and "BYMONTH" not in parts)
            for word in parts["BYDAY"].split(",")
        )
    if frequency in ("HOURLY", "DAILY"):
        return True
    if frequency == "WEEKLY":
        return day.weekday() == start.weekday()
    return day.day == start.day and (frequency == "MONTHLY" or "BYMONTH" in parts or day.month == start.month)


def _is_weekday(day: date, word: str, *, by_year: bool) -> bool:
    if CODES[day.weekday()] != word[-2:]:
        return False
    if len(word) == 2:
        return True
    first = day.replace(month=1, day=1) if by_year else day.replace(day=1)
    after = date(day.year + 1, 1, 1) if by_year or day.month == 12 else date(day.year, day.month + 1, 1)
    from_front, from_back = (day - first).days // 7 + 1, -((after - timedelta(days=1) - day).days // 7 + 1)
    return int(word[:-2]) in (from_front, from_back)
