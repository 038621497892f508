"""Calendar files: what counts in them, in which zone, and that the rest is refused with its line."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest

from rules.bundle import Bundle
from rules.check import check
from rules.load import load_bundle
from rules.windows import schedule
from rules.windows.calendar_file import read_calendar
from rules.windows.calendar_lines import CalendarError
from rules.windows.local_time import local_time, second_of
from rules.windows.timetable import Fixed, Timetable

OUTLOOK = """BEGIN:VTIMEZONE
TZID:W. Europe Standard Time
BEGIN:STANDARD
DTSTART:16010101T030000
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=10
END:STANDARD
BEGIN:DAYLIGHT
DTSTART:16010101T020000
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=3
END:DAYLIGHT
END:VTIMEZONE
"""


def event(*lines: str, uid: str = "1") -> str:
    """Return one event."""
    return "\n".join(["BEGIN:VEVENT", f"UID:{uid}", *lines, "END:VEVENT", ""])


def calendar(*parts: str) -> bytes:
    """Return a file as programs write it."""
    text = "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//x//y//EN\n" + "".join(parts) + "END:VCALENDAR\n"
    return text.replace("\n", "\r\n").encode()


def openings(content: bytes, zone: str = "Europe/Berlin", year: int = 2026) -> list[str]:
    """Return a year's openings in UTC as texts like `0328T09:00+8h`."""
    table = Timetable(read_calendar(content, local_time(zone)), Fixed(()), Fixed(()))
    begin, end = (second_of(datetime(at, 1, 1, tzinfo=UTC)) for at in (year, year + 1))
    return [
        f"{datetime.fromtimestamp(opens, UTC):%m%dT%H:%M}+{(closes - opens) / 3600:g}h"
        for opens, closes in table.spans(begin, end)
    ]


def test_times_have_the_zone_of_the_event_or_of_the_window() -> None:
    """UTC, a name of the database, a VTIMEZONE of the file's own, and none."""
    for start in ("20260328T080000Z", "20260328T090000"):
        assert openings(calendar(event(f"DTSTART:{start}", "DURATION:PT8H"))) == ["0328T08:00+8h"]
    assert openings(calendar(event("DTSTART;TZID=Asia/Kolkata:20260328T090000", "DURATION:PT1H"))) == ["0328T03:30+1h"]
    named = 'DTSTART;TZID="W. Europe Standard Time":20260329T090000'
    assert openings(calendar(OUTLOOK, event(named, "DURATION:PT1H")), "UTC") == ["0329T07:00+1h"]


def test_a_zone_of_the_files_own_changes_as_it_says() -> None:
    """Outlook's name for Berlin, over both changes of the clock, is Berlin."""
    rule = ("DURATION:PT2H", "RRULE:FREQ=DAILY;UNTIL=20270101T000000Z")
    ours = openings(calendar(OUTLOOK, event("DTSTART;TZID=W. Europe Standard Time:20260101T023000", *rule)), "UTC")
    assert ours == openings(calendar(event("DTSTART;TZID=Europe/Berlin:20260101T023000", *rule)), "UTC")
    assert len(ours) == 365


def test_an_event_of_dates_lasts_from_midnight_to_midnight() -> None:
    """23 hours in spring, 25 in autumn; without an end one day, DTEND is not included."""
    assert openings(calendar(event("DTSTART;VALUE=DATE:20260329"))) == ["0328T23:00+23h"]
    assert openings(calendar(event("DTSTART;VALUE=DATE:20261025", "DTEND;VALUE=DATE:20261026"))) == ["1024T22:00+25h"]
    weeks = event(
        "DTSTART;VALUE=DATE:20260328",
        "DTEND;VALUE=DATE:20260330",
        "RRULE:FREQ=WEEKLY;UNTIL=20260411",
        "EXDATE;VALUE=DATE:20260404",
    )
    assert openings(calendar(weeks)) == ["0327T23:00+47h", "0410T22:00+48h"]


def test_exceptions_additions_moves_and_cancellations() -> None:
    """EXDATE removes an occurrence, RDATE adds, RECURRENCE-ID moves, a cancelled event is none."""
    master = event(
        "DTSTART:20260328T100000Z",
        "DTEND:20260328T110000Z",
        "RRULE:FREQ=WEEKLY;COUNT=4",
        "EXDATE:20260404T100000Z",
        "RDATE:20260501T100000Z,20260502T100000Z",
    )
    moved = event("RECURRENCE-ID:20260411T100000Z", "DTSTART:20260412T150000Z", "DURATION:PT2H")
    gone = event("RECURRENCE-ID:20260418T100000Z", "DTSTART:20260418T100000Z", "STATUS:CANCELLED")
    other = event("DTSTART:20260601T100000Z", "DURATION:PT1H", "STATUS:CANCELLED", uid="2")
    assert openings(calendar(master, moved, gone, other)) == [
        "0328T10:00+1h",
        "0412T15:00+2h",
        "0501T10:00+1h",
        "0502T10:00+1h",
    ]


def test_lines_may_be_folded_and_carry_what_is_no_time() -> None:
    """Descriptions, alarms and private properties say nothing about when."""
    alarm = "BEGIN:VALARM\nTRIGGER:-PT15M\nACTION:DISPLAY\nEND:VALARM"
    lines = (
        "SUMMARY:long\n  and longer",
        'X-OWN;A="b:c":d',
        "DTSTART;TZID=Europe\n /Berlin:20260328T09\n\t0000",
        "DURATION:PT1H",
        alarm,
    )
    assert openings(calendar(event(*lines))) == ["0328T08:00+1h"]


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        (8, ("DTSTART:20260328T100000", "DURATION:PT1H", "RRULE:FREQ=MINUTELY")),
        (8, ("DTSTART:20260328T100000", "DURATION:PT1H", "RRULE:FREQ=WEEKLY;BYDAY=MO")),
        (6, ("DTSTART;TZID=Here:20260328T100000",)),
        (6, ("DTSTART:yesterday",)),
        (6, ("DTSTART:18000101T000000",)),
        (7, ("DTSTART:20260328T100000", "DTEND:20260327T100000")),
        (7, ("DTSTART:20260328T100000", "DTEND;VALUE=DATE:20260329")),
        (8, ("DTSTART:20260328T100000", "DTEND:20260328T110000", "DURATION:PT1H")),
        (7, ("DTSTART:20260328T100000", "DURATION:eight hours")),
        (7, ("DTSTART:20260328T100000", "RDATE;VALUE=PERIOD:20260401T100000Z/PT1H", "DURATION:PT1H")),
        (7, ("DTSTART:20260328T100000", "EXDATE;VALUE=DATE:20260328", "DURATION:PT1H")),
        (7, ("DTSTART:20260328T100000", "EXRULE:FREQ=DAILY")),
        (7, ("DTSTART:20260328T100000", "DTSTART:20260329T100000")),
        (6, ("RECURRENCE-ID;RANGE=THISANDFUTURE:20260328T100000", "DTSTART:20260328T100000")),
        (4, ("SUMMARY:when?",)),
        (6, ("no property at all",)),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused_with_its_line(line: int, lines: tuple[str, ...]) -> None:
    """The first line of the file is 1, a folded line counts where it begins."""
    with pytest.raises(CalendarError) as refused:
        read_calendar(calendar(event(*lines)), local_time("UTC"))
    assert refused.value.line == line, refused.value
    assert refused.value.code in ("POL072", "POL075")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", 0),
        (b"BEGIN:VCALENDAR\n", 1),
        (b"BEGIN:VEVENT\nEND:VEVENT\n", 1),
        (b"BEGIN:VCALENDAR\nBEGIN:VTODO\nEND:VTODO\nEND:VCALENDAR\n", 2),
        (b"BEGIN:VCALENDAR\nBEGIN:VEVENT\nEND:VCALENDAR\n", 3),
        (b"BEGIN:VCALENDAR\n\xff\nEND:VCALENDAR\n", 2),
        (b"DTSTART:20260101T000000\n", 1),
        (b"BEGIN:A\nBEGIN:B\nBEGIN:C\nBEGIN:D\nBEGIN:E\n", 5),
    ],
)
def test_what_is_no_calendar_is_refused(content: bytes, line: int) -> None:
    """Also half a file."""
    with pytest.raises(CalendarError) as refused:
        read_calendar(content, local_time("UTC"))
    assert refused.value.line == line


def test_zones_that_would_run_for_minutes_or_are_none_are_refused() -> None:
    """A VTIMEZONE is somebody else's text too."""
    named = event("DTSTART;TZID=W. Europe Standard Time:20260328T090000", "DURATION:PT1H")
    for old, new in (
        ("FREQ=YEARLY", "FREQ=SECONDLY"),
        ("FREQ=YEARLY", "FREQ=DAILY"),
        ("+0200", "+9900"),
        ("+0200", "2"),
        ("16010101T030000", "soon"),
    ):
        with pytest.raises(CalendarError):
            read_calendar(calendar(OUTLOOK.replace(old, new), named), local_time("UTC"))


def test_noise_is_refused_or_read_and_never_a_traceback(seed: int) -> None:
    """Bytes turned, cut and doubled: a refusal or a calendar whose times can be asked for."""
    rng = random.Random(seed)
    whole = calendar(
        OUTLOOK,
        event(
            "DTSTART;TZID=W. Europe Standard Time:20260328T090000",
            "DURATION:PT1H",
            "RRULE:FREQ=WEEKLY;COUNT=9",
            "EXDATE;TZID=Europe/Berlin:20260404T090000",
        ),
    )
    read = 0
    for _ in range(300):
        broken = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(broken))
            broken[at : at + rng.randint(0, 3)] = rng.choice(
                (b"", b"9", b"-", b";", b":", b"\n", bytes([rng.randrange(256)]), whole[at : at + 30])
            )
        try:
            sources = read_calendar(bytes(broken), local_time("UTC"))
        except CalendarError:
            continue
        Timetable(sources, Fixed(()), Fixed(())).spans(1_770_000_000, 1_800_000_000)
        read += 1
    assert 0 < read < 300, "both happen"


def test_a_window_takes_a_calendar_that_came_with_the_policy() -> None:
    """Its mistakes carry the calendar's own name and line."""
    text = "version: 1\nsite: {name: s, timezone: Europe/Berlin}\nwindows:\n  w:\n    ics: holidays.ics\n"
    good = load_bundle(Bundle("p.yaml", text, {"holidays.ics": calendar(event("DTSTART;VALUE=DATE:20261224"))}))
    begin = datetime(2026, 12, 1, tzinfo=UTC)
    assert schedule(good).intervals("w", begin, begin.replace(day=31)) == [
        (datetime(2026, 12, 23, 23, tzinfo=UTC), datetime(2026, 12, 24, 23, tzinfo=UTC))
    ]
    bad = load_bundle(Bundle("p.yaml", text, {"holidays.ics": calendar(event("DTSTART:tomorrow"))}))
    assert [(problem.path, problem.line, problem.code) for problem in check(bad)] == [("holidays.ics", 6, "POL075")]
