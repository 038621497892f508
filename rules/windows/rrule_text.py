"""RFC 5545 recurrence rules: read strictly, so that what is not understood is refused and never guessed.

In: the text of an RRULE (`FREQ=MONTHLY;BYDAY=1SA`). Out: `Rule`, or `RuleError` with the problem's code. SPEC: RFC
5545 section 3.3.10. dateutil takes numbers that no calendar has and ignores parts that a frequency forbids; here both
are errors.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Final

from dateutil.rrule import DAILY, HOURLY, MONTHLY, WEEKLY, YEARLY, rrule, rrulestr
from icalendar.prop import vDDDTypes

MAX_OCCURRENCES: Final = 10_000  # of a COUNT, and in one year: about one an hour
MAX_INTERVAL: Final = 1_000
FREQUENCIES: Final = {"HOURLY": HOURLY, "DAILY": DAILY, "WEEKLY": WEEKLY, "MONTHLY": MONTHLY, "YEARLY": YEARLY}
TOO_FREQUENT: Final = ("SECONDLY", "MINUTELY")
# part → lowest and highest number; True: negative ones count from the end
NUMBERS: Final = {
    "BYHOUR": (0, 23, False),
    "BYMINUTE": (0, 59, False),
    "BYSECOND": (0, 59, False),
    "BYMONTH": (1, 12, False),
    "BYMONTHDAY": (1, 31, True),
    "BYYEARDAY": (1, 366, True),
    "BYWEEKNO": (1, 53, True),
    "BYSETPOS": (1, 366, True),
}
FORBIDDEN: Final = {
    "BYWEEKNO": ("HOURLY", "DAILY", "WEEKLY", "MONTHLY"),
    "BYYEARDAY": ("HOURLY", "DAILY", "WEEKLY", "MONTHLY"),
    "BYMONTHDAY": ("HOURLY", "WEEKLY"),
    "BYMONTH": ("HOURLY",),  # RFC 5545 knows it and days above; walking hour by hour to a month takes seconds
}
WEEKDAY: Final = re.compile(r"([+-]?[1-9][0-9]?)?(MO|TU|WE|TH|FR|SA|SU)\Z")
NUMBER: Final = re.compile(r"[+-]?[0-9]{1,3}\Z")
COUNT: Final = re.compile(r"[1-9][0-9]{0,8}\Z")
KNOWN: Final = frozenset({"FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST", "BYDAY", *NUMBERS})


class RuleError(ValueError):
    """The rule is refused; `code` is the problem's."""

    def __init__(self, message: str, hint: str = "", code: str = "POL071") -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule whose parts are sound. COUNT and UNTIL (its moment included, in UTC or local) are not in `text`."""

    text: str
    frequency: str
    interval: int
    most_in_a_year: int  # never less than it can be
    count: int | None
    until_utc: datetime | None
    until_local: datetime | None

    def between(self, start: datetime, until: datetime) -> rrule:
        """Return the rule counted from a local start up to a last moment. Raises RuleError for parts that don't fit."""
        try:
            made = rrulestr(f"RRULE:{self.text}", dtstart=start)
        except (ValueError, OverflowError) as error:
            raise RuleError(f"'{self.text}': {error}") from None
        assert isinstance(made, rrule)  # noqa: S101 one RRULE line and nothing else makes one rule
        return made.replace(until=until)


def read_rule(text: str) -> Rule:
    """Read a rule. Raises RuleError."""
    parts = _parts(text)
    frequency = parts.get("FREQ", "")
    if frequency in TOO_FREQUENT:
        raise RuleError(f"'{frequency}' is too often for a window", "HOURLY is the most frequent", "POL072")
    if frequency not in FREQUENCIES:
        raise RuleError(f"'FREQ={frequency}' is no frequency", "one of " + ", ".join(FREQUENCIES))
    for part, frequencies in FORBIDDEN.items():
        if part in parts and frequency in frequencies:
            hint = "FREQ=DAILY with BYHOUR says it" if frequency == "HOURLY" else "RFC 5545 section 3.3.10"
            raise RuleError(f"'{part}' can't stand with FREQ={frequency}", hint)
    for part, (lowest, highest, signed) in NUMBERS.items():
        if part in parts:
            _check_numbers(part, parts[part], lowest, highest, signed=signed)
    _check_weekdays(parts, frequency)
    if "BYSETPOS" in parts and not any(part in parts for part in (*NUMBERS, "BYDAY") if part != "BYSETPOS"):
        raise RuleError("'BYSETPOS' chooses from nothing", "add BYDAY or another BY part")
    if "COUNT" in parts and "UNTIL" in parts:
        raise RuleError("'COUNT' and 'UNTIL' exclude each other", "keep one of them")
    interval = _count("INTERVAL", parts.get("INTERVAL", "1"), MAX_INTERVAL)
    count = _count("COUNT", parts["COUNT"], MAX_OCCURRENCES) if "COUNT" in parts else None
    until_utc, until_local = _until(parts["UNTIL"]) if "UNTIL" in parts else (None, None)
    rest = ";".join(f"{name}={value}" for name, value in parts.items() if name not in ("COUNT", "UNTIL"))
    return Rule(rest, frequency, interval, _most_in_a_year(parts), count, until_utc, until_local)


def _parts(text: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    for part in text.split(";"):
        name, equals, value = part.partition("=")
        if name not in KNOWN or not equals or not value:
            raise RuleError(f"'{part[:80]}' is no part of a recurrence", "like FREQ=MONTHLY;BYDAY=1SA")
        if name in parts:
            raise RuleError(f"'{name}' appears twice")
        parts[name] = value
    return parts


def _check_numbers(part: str, text: str, lowest: int, highest: int, *, signed: bool) -> None:
    for word in text.split(","):
        value = int(word) if NUMBER.match(word) else None
        if value is None or not lowest <= (abs(value) if signed else value) <= highest:
            raise RuleError(f"'{part}={word[:20]}' is out of range", f"{lowest} to {highest}{', or negative' * signed}")


def _check_weekdays(parts: dict[str, str], frequency: str) -> None:
    start = parts.get("WKST", "MO")
    if WEEKDAY.match(start) is None or len(start) > 2:
        raise RuleError(f"'WKST={start[:20]}' is no weekday", "like MO")
    for word in parts.get("BYDAY", "MO").split(","):
        found = WEEKDAY.match(word)
        if found is None or abs(int(found[1] or 1)) > 53:
            raise RuleError(f"'BYDAY={word[:20]}' is no weekday", "like MO, 1SA or -1SU")
        if found[1] and (frequency not in ("MONTHLY", "YEARLY") or "BYWEEKNO" in parts):
            raise RuleError(f"'BYDAY={word}' is numbered within a month or a year", f"leave out the {found[1]}")


def _most_in_a_year(parts: dict[str, str]) -> int:
    most = 366
    for part in ("BYHOUR", "BYMINUTE", "BYSECOND"):
        most *= parts[part].count(",") + 1 if part in parts else 1
    return most * 24 if parts["FREQ"] == "HOURLY" and "BYHOUR" not in parts else most


def _count(part: str, text: str, highest: int) -> int:
    if not COUNT.match(text):
        raise RuleError(f"'{part}={text[:20]}' is no number", f"1 to {highest}")
    if int(text) > highest:
        raise RuleError(f"'{part}={text}' is too large", f"1 to {highest}", "POL072")
    return int(text)


def _until(text: str) -> tuple[datetime | None, datetime | None]:
    value = read_time(text)
    if value is None:
        raise RuleError(f"'UNTIL={text[:20]}' is no date", "like 20271231 or 20271231T235959Z")
    if not isinstance(value, datetime):
        return None, datetime.combine(value, time(23, 59, 59))
    return (None, value) if value.tzinfo is None else (value.astimezone(UTC), None)


def read_time(text: str) -> date | datetime | None:
    """Return a date, a local time, or an instant as iCalendar writes it (20270131T060000Z); None for anything else."""
    try:
        value = vDDDTypes.from_ical(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return value if isinstance(value, date) else None
