"""Windows in the rules: what the page says about odd hours, which rules are refused and where, and cycles."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rules.check import check
from rules.load import load_policy_text
from rules.model import Policy
from rules.windows import schedule
from rules.windows.cycles import cycle_occurrences
from rules.windows.spans import clipped, merged, without

EVERY_DAY = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
MONTHLY = {"start": "2026-01-03T06:00", "duration": "8h", "rrule": "FREQ=MONTHLY;BYDAY=1SA"}
CONDUIT = {"from": {"zone": "a"}, "to": {"zone": "b"}, "services": ["modbus"]}


def policy(window: dict[str, Any], zone: str = "Europe/Berlin", **sections: Any) -> Policy:
    """Return a policy with one window."""
    site = {"name": "s", "timezone": zone}
    return Policy.model_validate({"version": 1, "site": site, "windows": {"w": window}} | sections)


def openings(window: dict[str, Any], begin: str, days: int = 1, zone: str = "Europe/Berlin") -> list[str]:
    """Return openings within days of UTC as texts like `27T00:00-01:00`."""
    first = datetime.fromisoformat(begin).replace(tzinfo=UTC)
    spans = schedule(policy(window, zone)).intervals("w", first, first + timedelta(days=days))
    return [f"{opens:%dT%H:%M}-{closes:%H:%M}" for opens, closes in spans]


def weekly(begin: str, end: str) -> dict[str, Any]:
    """Return hours of every day."""
    return {"weekly": [{"days": EVERY_DAY, "from": begin, "to": end}]}


@pytest.mark.parametrize(
    ("begin", "end", "spring", "autumn"),
    [
        # Berlin: 2027-03-28 02:00 becomes 03:00 at 01:00 UTC; 2027-10-31 03:00 becomes 02:00 at 01:00 UTC
        ("01:00", "03:00", ["28T00:00-01:00"], ["30T23:00-02:00"]),
        ("02:15", "02:45", [], ["31T00:15-00:45", "31T01:15-01:45"]),
        ("02:30", "04:00", ["28T01:00-02:00"], ["31T00:30-01:00", "31T01:30-03:00"]),
    ],
)
def test_weekly_hours_are_what_the_clock_shows(begin: str, end: str, spring: list[str], autumn: list[str]) -> None:
    """A missing hour is skipped, a repeated one counts twice."""
    assert openings(weekly(begin, end), "2027-03-27T12:00") == spring
    assert openings(weekly(begin, end), "2027-10-30T12:00") == autumn


def test_a_rule_lasts_its_elapsed_time_and_begins_behind_a_gap() -> None:
    """Eight hours are eight hours, and 02:30 in spring is the first instant after it."""
    rule = {"rules": [{"start": "2027-01-01T02:30", "duration": "8h", "rrule": "FREQ=DAILY"}]}
    assert openings(rule, "2027-03-27T12:00") == ["28T01:00-09:00"]
    assert openings(rule, "2027-10-30T12:00") == ["31T00:30-08:30"]


def test_leap_day_and_days_that_a_month_has_not() -> None:
    """A rule on the 31st skips short months; one on Feb 29 comes in leap years only."""
    last = {"rules": [{"start": "2028-01-31T00:00", "duration": "24h", "rrule": "FREQ=MONTHLY"}]}
    assert [text[:2] for text in openings(last, "2028-01-01", 130, "UTC")] == ["31", "31"]
    leap = {"rules": [{"start": "2024-02-29T00:00", "duration": "24h", "rrule": "FREQ=YEARLY"}]}
    assert openings(leap, "2025-01-01", 1400, "UTC") == ["29T00:00-00:00"]
    planned = schedule(policy(leap, "UTC", conduits={"c": CONDUIT | {"windows": "w"}}))
    assert planned.next_change(datetime(2028, 3, 2, tzinfo=UTC)) == datetime(2032, 2, 29, tzinfo=UTC)


def test_exceptions_cut_time_and_once_stands_above_them() -> None:
    """A holiday cuts the night before at midnight; what is opened once is open on the holiday too."""
    window = weekly("22:00", "06:00") | {"except": ["2026-12-24"]}
    assert openings(window, "2026-12-23T12:00", 2, "UTC") == ["23T22:00-00:00", "25T00:00-06:00"]
    window |= {"once": [{"from": "2026-12-24T10:00", "to": "2026-12-24T11:00"}]}
    assert "24T10:00-11:00" in openings(window, "2026-12-23T12:00", 2, "UTC")


def test_a_whole_day_and_hours_over_midnight() -> None:
    """`24:00` is the end of the day; what ends before it begins ends on the next one."""
    saturday = {"weekly": [{"days": ["sat"], "from": "00:00", "to": "24:00"}]}
    assert openings(saturday, "2026-11-27", 3, "UTC") == ["28T00:00-00:00"]
    night = {"weekly": [{"days": ["sun"], "from": "22:00", "to": "06:00"}]}
    assert openings(night, "2026-11-28", 3, "UTC") == ["29T22:00-06:00"]


@pytest.mark.parametrize(
    ("rrule", "code"),
    [
        ("FREQ=SECONDLY", "POL072"),
        ("FREQ=MINUTELY;INTERVAL=30", "POL072"),
        ("FREQ=HOURLY;BYMINUTE=0,30", "POL072"),
        ("FREQ=DAILY;COUNT=10001", "POL072"),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "POL073"),
        ("FREQ=HOURLY;BYMONTHDAY=30", "POL071"),
        ("FREQ=DAILY;UNTIL=20250101", "POL073"),
        ("FREQ=DAILY;UNTIL=20271301", "POL071"),
        ("FREQ=DAILY;COUNT=3;UNTIL=20271201", "POL071"),
        ("FREQ=DAILY;FREQ=WEEKLY", "POL071"),
        ("FREQ=WEEKLY;BYDAY=1MO", "POL071"),
        ("FREQ=WEEKLY;BYMONTHDAY=3", "POL071"),
        ("FREQ=MONTHLY;BYDAY=XX", "POL071"),
        ("FREQ=MONTHLY;BYMONTH=13", "POL071"),
        ("FREQ=MONTHLY;BYSETPOS=1", "POL071"),
        ("FREQ=MONTHLY;BYEASTER=0", "POL071"),
        ("FREQ=DAILY;BYHOUR=24", "POL071"),
        ("FREQ=DAILY;INTERVAL=0", "POL071"),
        ("FREQ=HOURLY;INTERVAL=2;BYHOUR=1", "POL071"),
    ],
)
def test_a_recurrence_that_is_not_understood_is_refused(rrule: str, code: str) -> None:
    """With its code; nothing is guessed and nothing runs for minutes."""
    found = check(policy({"rules": [MONTHLY, MONTHLY | {"rrule": rrule}]}))
    assert [problem.code for problem in found] == [code], found


def test_problems_have_the_place_of_the_rule() -> None:
    """Line and column of the recurrence, and of a time zone that does not exist, with what was meant."""
    text = (
        "version: 1\nsite: {name: s}\nwindows:\n"
        "  w:\n    timezone: Europe/Berlim\n    weekly: {days: mon, from: '06:00', to: '07:00'}\n"
        "  v:\n    rules:\n      - start: 2027-01-01T06:00\n        duration: 1h\n        rrule: FREQ=MINUTELY\n"
    )
    found = [(problem.line, problem.code, problem.hint) for problem in check(load_policy_text(text))]
    assert found == [
        (5, "POL070", "did you mean 'Europe/Berlin'?"),
        (11, "POL072", "HOURLY is the most frequent"),
    ]


def test_until_includes_its_moment_and_as_a_date_its_day() -> None:
    """RFC 5545 section 3.3.10."""
    daily = {"start": "2027-06-01T12:00", "duration": "1h"}
    for until, last in (
        ("20270603", "03"),
        ("20270603T120000", "03"),
        ("20270603T115959", "02"),
        ("20270603T100000Z", "03"),
    ):
        found = openings({"rules": [daily | {"rrule": f"FREQ=DAILY;UNTIL={until}"}]}, "2027-05-31", 10)
        assert found[-1][:2] == last, until


def test_windows_of_a_conduit_add_up_and_others_stay_as_they_are() -> None:
    """Open while any is; without windows always, disabled or unproven never."""
    conduits = {
        "plain": CONDUIT,
        "both": CONDUIT | {"windows": ["w", "v"]},
        "off": CONDUIT | {"windows": "w", "enabled": False},
        "proven": CONDUIT | {"windows": "w", "requires": "session"},
    }
    windows = {"w": weekly("06:00", "08:00"), "v": weekly("07:00", "09:00")}
    planned = schedule(policy({}, "UTC", conduits=conduits, windows=windows))
    at = datetime(2026, 11, 23, 5, 0, tzinfo=UTC)
    hour = timedelta(hours=1)
    assert [planned.open_at("both", at + n * hour) for n in range(6)] == [False, True, True, True, False, False]
    assert planned.next_change_of("both", at + hour) == at + 4 * hour, "the other window is open at 08:00"
    assert planned.next_change(at + hour) == at + 2 * hour
    assert [planned.open_at(name, at + hour) for name in ("plain", "off", "proven")] == [True, False, False]
    assert planned.next_change_of("plain", at) is None


def test_beyond_the_ends_of_time_every_window_is_closed() -> None:
    """1970 to 2199, at both edges to the second."""
    planned = schedule(policy(weekly("00:00", "24:00"), "UTC"))
    table = planned.windows["w"]
    last = int(datetime(2200, 1, 1, tzinfo=UTC).timestamp())
    assert [table.open_at(second) for second in (-1, 0, last - 1, last)] == [False, True, True, False]
    assert (table.next_change(-5), table.next_change(last - 10), table.next_change(last)) == (0, last, None)
    assert table.spans(-100, last + 100) == [(0, last)]


def test_spans() -> None:
    """Touching ones become one, empty ones none, holes cut."""
    assert merged([(5, 6), (1, 3), (3, 4), (7, 7)]) == [(1, 4), (5, 6)]
    assert clipped([(1, 4), (5, 9)], 3, 7) == [(3, 4), (5, 7)]
    assert without([(0, 10), (12, 20)], [(-5, 1), (3, 5), (9, 13), (15, 16)]) == [(1, 3), (5, 9), (13, 15), (16, 20)]


def test_cycles_are_what_lies_wholly_within() -> None:
    """Weekly hours, rules and stretches of elapsed time; a cycle that was seen in part was not observed."""
    cycles = {
        "shift": {"weekly": [{"days": EVERY_DAY, "from": "22:00", "to": "06:00"}]},
        "backup": {"rules": [MONTHLY]},
        "batch": {"every": "8h"},
    }
    made = policy(weekly("06:00", "08:00"), "UTC", cycles=cycles)
    begin = datetime(2026, 12, 4, 23, tzinfo=UTC)
    end = begin + timedelta(days=3)
    assert [opens.day for opens, _ in cycle_occurrences(made, "shift", begin, end)] == [5, 6]
    assert [opens.isoformat() for opens, _ in cycle_occurrences(made, "backup", begin, end)] == [
        "2026-12-05T06:00:00+00:00"
    ]
    assert len(cycle_occurrences(made, "batch", begin, end)) == 9
    assert cycle_occurrences(made, "batch", end, begin) == []
    with pytest.raises(KeyError):
        cycle_occurrences(made, "unknown", begin, end)


def test_shifts_without_a_gap_between_them_are_shifts_of_their_own() -> None:
    around_the_clock = [("06:00", "14:00"), ("14:00", "22:00"), ("22:00", "06:00")]
    entries = [{"days": EVERY_DAY, "from": begin, "to": end} for begin, end in around_the_clock]
    daily = {"start": "2026-12-01T06:00", "duration": "8h", "rrule": "FREQ=DAILY"}
    rules = [daily, daily | {"start": "2026-12-01T14:00"}]
    made = policy(weekly("06:00", "08:00"), "UTC", cycles={"shift": {"weekly": entries}, "ruled": {"rules": rules}})
    begin = datetime(2026, 12, 4, 5, tzinfo=UTC)
    shifts = cycle_occurrences(made, "shift", begin, begin + timedelta(days=2))
    assert [opens.hour for opens, _ in shifts] == [6, 14, 22, 6, 14]
    assert len(cycle_occurrences(made, "ruled", begin, begin + timedelta(days=2))) == 4
